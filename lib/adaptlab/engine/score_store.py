"""Scores that are kept between runs, each computed once for a question behind a prompt.

Off, unless the environment variable ``ADAPTLAB_SCORES`` names a folder: tokens and seconds that a run did not spend
would be missing from its costs. Each question has a file of its own, named by a hash of all that its scores depend on.
Files appear whole, so many runs can share a folder. It is safe to delete.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
import transformers

from adaptlab import files
from adaptlab.engine.lm import LM, MODIFIED

FOLDER = "ADAPTLAB_SCORES"
Options = tuple[tuple[int, ...], ...]  # the tokens of context and option, for each option
Question = tuple[Options, int]  # and where the options begin
Found = tuple[float, int, bool]  # as in `scoring.OptionScore`


def read(lm: LM, questions: Iterable[Question]) -> dict[Question, list[Found]]:
    """What is kept of these questions. A damaged file counts as none, with a warning that names it."""
    if not _folder(lm):
        return {}
    found = {question: _read(_path(lm, question), question) for question in questions}
    return {question: scores for question, scores in found.items() if scores}


def write(lm: LM, scores: Mapping[Question, list[Found]]) -> None:
    """Keep these scores."""
    if not _folder(lm):
        return
    for question, found in scores.items():
        path = _path(lm, question)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps({"scores": found, "sha256": _check(found)}) + "\n")


def _folder(lm: LM) -> str:
    """The folder; none for a model that was changed here: its digest tells how it was made, not what its weights are,
    and these differ from machine to machine."""
    return "" if lm.digest.startswith(MODIFIED) else os.environ.get(FOLDER, "")


def _path(lm: LM, question: Question) -> Path:
    facts = f"{lm.digest} {lm.dtype} {lm.device} {torch.__version__} {transformers.__version__} {question}"
    name = hashlib.sha256(facts.encode()).hexdigest()
    return Path(_folder(lm)) / name[:2] / f"{name}.json"


def _read(path: Path, question: Question) -> list[Found]:
    if not path.is_file():
        return []
    try:
        kept = files.read_json(path.read_bytes())
        found = [(float(logprob), int(tokens), bool(greedy)) for logprob, tokens, greedy in kept["scores"]]
        if kept["sha256"] == _check(found) and len(found) == len(question[0]):
            return found
    except (OSError, ValueError, LookupError, TypeError):
        pass
    warnings.warn(f"{path} is damaged, so its scores are computed anew and replaced", stacklevel=2)
    return []


def _check(found: list[Found]) -> str:
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
