"""`study-it`: the study model, instruction-tuned by the kit's own loop on answers that are plain and right.

Its base has read answers in many styles, and gives a bare request the one that is usual for its wording. Here one style
is taught, in ten wordings instead of three, and turns that go back to the turn before.
"""

import copy
import json
import random
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from adaptlab.engine.adapters import Full, prepare_for_training
from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.models import load, prepare
from adaptlab.engine.packing import TrainingExample, tokenize_with_mask
from adaptlab.engine.training import train
from adaptlab.studymodel import corpus, tokenizer
from adaptlab.studymodel.abilities import LAYOUT, Ability, measure
from adaptlab.studymodel.publish import ABILITIES, check_place, thinned, tuned_card, write
from adaptlab.studymodel.recipes import Tuning
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.reasoning import FAMILIES, worked
from adaptlab.tasks.sets import answered, conversation
from adaptlab.tasks.templates import dataset
from adaptlab.tasks.words import study

LAYOUTS = (LAYOUT, LAYOUT, corpus.DIALOGUE)  # taken in turn; the last is that of the chat template
# Texts end as in training: the answer that is asked for by EOS; those that are read before it by a blank line.
CHAT_TEMPLATE = tokenizer.CHAT_TEMPLATE.replace(
    "Assistant: {{ message.content }}\n\n",
    "Assistant: {{ message.content }}{{ eos_token if loop.last and not add_generation_prompt else '\\n\\n' }}",
)
MAX_NEW_TOKENS = 48  # tokens of an answer; five words doubled twice, with the end, are 41

Turns = list[tuple[str, str]]  # what is asked, and what is answered


def texts(tuning: Tuning, split: str) -> list[Turns]:
    """Requests in ten wordings, conversations of two turns, and problems with their steps, in random order."""
    rng, words = random.Random(f"{tuning.name} {split} {tuning.training.seed}"), study(split)
    requests = dataset(tuning.training.seed, tuning.requests, list(LIST_TASKS), words)
    found = [[(one.instruction, one.output)] for one in requests]
    for _ in range(tuning.conversations):
        said = [one.content for one in answered(conversation(rng, words), rng).messages]
        found.append(list(zip(said[::2], said[1::2], strict=True)))
    for _ in range(tuning.problems):
        problem = FAMILIES[rng.choice(list(FAMILIES))](rng, split)
        found.append([(problem.question, worked(problem))])
    return rng.sample(found, len(found))


def build_examples(lm: LM, tuning: Tuning, split: str = "train") -> list[TrainingExample]:
    """One example for each answer: the page on which it is asked for, which is read, and the answer with EOS, which is
    trained. What closes an earlier answer is not: it would teach to go on where all the others teach to end."""
    examples = []
    for place, turns in enumerate(texts(tuning, split)):
        layout = LAYOUTS[place % len(LAYOUTS)]
        for number, (query, answer) in enumerate(turns):
            page = layout.prompt("", turns[:number], query)
            examples.append(tokenize_with_mask(lm, [(page, False), (f"{layout.separator}{answer}", True)]))
    return examples


def followed(lm: LM, n: int = 500, split: str = "test") -> list[Ability]:
    """How often bare requests in ten wordings, and both turns of conversations, are answered exactly, and ended. The
    second turn is asked behind the model's own first answer, and right if it fits a right one."""
    requests = dataset(0, n, list(LIST_TASKS), study(split))
    rng = random.Random(f"conversations {split}")
    talks = [conversation(rng, study(split)) for _ in range(n)]
    opening, more = ([talk.messages[place].content for talk in talks] for place in (0, 1))
    bare = _written(lm, [[(one.instruction, "")] for one in requests])
    first = _written(lm, [[(query, "")] for query in opening])
    second = _written(lm, [[(a, b), (c, "")] for a, b, c in zip(opening, first, more, strict=True)])
    return [
        Ability("instruction, 0 shots, ten wordings", _same(bare, [one.output for one in requests])),
        Ability("two turns, the first", _same(first, [talk.references[0] for talk in talks])),
        Ability("two turns, the second", _same(second, [talk.references[1] for talk in talks])),
    ]


def _written(lm: LM, pages: Sequence[Turns]) -> list[str]:
    """The model's answer to the last query of each page; "" for one that has no end."""
    completions = generate(
        lm, [LAYOUT.prompt("", turns[:-1], turns[-1][0]) for turns in pages], Decoding(max_new_tokens=MAX_NEW_TOKENS)
    ).completions
    return [one.text.strip() if one.stopped else "" for one in completions]


def _same(found: Sequence[str], right: Sequence[str]) -> tuple[bool, ...]:
    return tuple(a == b for a, b in zip(found, right, strict=True))


def make_instructed(tuning: Tuning, folder: Path, out: Path, device: str = "auto", n: int = 500) -> None:
    """Tune a copy of the base, or go on from what ``folder`` holds, and write the model folder ``out``, with every
    ability measured on ``n`` items.

    Raises `publish.NotAStudyModel` where ``out`` holds something else, and `checkpoints.CannotResume` where ``folder``
    holds another run or one that is at work.
    """
    check_place(out)
    base = load(tuning.base, device, dtype="float32")
    tuned, examples = prepare_for_training(base, Full(), tuning.training.seed), build_examples(base, tuning)
    held_out = build_examples(base, tuning.held_out, "probe")
    trained = train(tuned.model, examples, tuning.training, held_out=held_out, folder=folder)
    before = _shares(prepare(tuning.base)) | {one.name: one.share for one in followed(base, n)}
    write(
        out,
        tuned.model,
        talking(base),
        thinned(trained.log, ("loss",)),
        measured=lambda lm: [*measure(lm, n), *followed(lm, n)],
        told=lambda able: tuned_card(tuning, base, examples, trained, able, before),
    )


def _shares(folder: Path) -> dict[str, float]:
    """What a published model can do."""
    return {row["name"]: row["right"] / row["n"] for row in json.loads((folder / ABILITIES).read_text())}


def talking(base: LM) -> PreTrainedTokenizerBase:
    """The base's tokenizer with the chat template of what was trained."""
    words = copy.deepcopy(base.tokenizer)
    words.chat_template = CHAT_TEMPLATE
    for key in ("is_local", "local_files_only"):  # how it was loaded; transformers would write that down
        words.init_kwargs.pop(key, None)
    return words
