"""A finished study model as an ordinary model folder: weights, tokenizer, training log, abilities, and a card."""

import hashlib
import json
import platform
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import jinja2
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import TrainingExample
from adaptlab.engine.machine import name_of
from adaptlab.engine.models import load
from adaptlab.engine.seal import ABILITIES, seal
from adaptlab.engine.training import Trained
from adaptlab.files import whole_folder, write_text
from adaptlab.studymodel import abilities, abilities_worlds, corpus, corpus_shots, corpus_worlds
from adaptlab.studymodel.abilities import Ability
from adaptlab.studymodel.pretrain import UNDETERMINED
from adaptlab.studymodel.recipes import ModelRecipe, Tuning
from adaptlab.tasks import instructions, knowledge, notes, reasoning
from adaptlab.tasks.wording import fill
from adaptlab.tasks.words import nouns

TRAINING, CARD = "training.jsonl", "README.md"
EVERY = 10  # steps that one line of the published log sums up
BOOKKEEPING = ("step", "batch", "tokens", "seconds", "device", "epoch", "lr", "norm")


def measure(lm: LM, n: int = 500) -> list[Ability]:
    """Every ability on the test nouns and problems, ``n`` items each (tens of thousands of answers: minutes); those of
    the second course for models with room for its pages."""
    second = lm.context_length >= abilities_worlds.ROOM
    return [*abilities.measure(lm, n), *(abilities_worlds.measure(lm, n) if second else ())]


class NotAStudyModel(ValueError):
    """The folder to write holds something else, which would be lost."""


def check_folder(folder: Path) -> None:
    """Raise `NotAStudyModel` where ``folder`` is anything but new, empty, or an older study model."""
    if folder.exists() and not (folder / TRAINING).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotAStudyModel(f"{folder} holds something other than a study model; name a new folder")


def publish(
    recipe: ModelRecipe,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    log: Path,
    folder: Path,
    n: int = 500,
) -> None:
    """Write the folder of a pretrained model, with every ability measured on ``n`` items. Raises `NotAStudyModel` as
    `check_folder` does."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    write(
        folder,
        model,
        tokenizer,
        thin_log(lines, ("determined", "undetermined")),
        measure=lambda lm: measure(lm, n),
        card=lambda measured: card(recipe, model.num_parameters(), lines, measured),
    )


def write(
    folder: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    log: Sequence[dict],
    *,
    measure: Callable[[LM], list[Ability]],
    card: Callable[[list[Ability]], str],
) -> None:
    """Write a model folder with the abilities that ``measure`` finds and the card that ``card`` makes of them.

    Weights are rounded to bfloat16 before they are measured, so the card is true of what the folder holds. The folder
    appears whole, in place of an older one. Raises `NotAStudyModel` as `check_folder` does.
    """
    check_folder(folder)
    with whole_folder(folder, replace=True) as new:
        rounded = LlamaForCausalLM(model.config).to(torch.bfloat16)
        rounded.load_state_dict(model.state_dict())
        rounded.save_pretrained(new)
        tokenizer.save_pretrained(new)
        write_text(new / TRAINING, "".join(json.dumps(line) + "\n" for line in log))
        measured = measure(load(str(new), device="cpu", dtype="float32"))
        rows = [{"name": one.name, "right": one.n_correct, "n": one.n, "chance": one.chance} for one in measured]
        write_text(new / ABILITIES, json.dumps(rows, indent=1) + "\n")
        write_text(new / CARD, card(measured))
        seal(new)


def thin_log(lines: Sequence[dict], losses: Sequence[str]) -> list[dict]:
    """One line for every `EVERY` steps: tokens so far, seconds, the means of some ``losses``, and what was probed."""
    kept, tokens = [], 0
    for start in range(0, len(lines), EVERY):
        some = lines[start : start + EVERY]
        tokens += sum(line["tokens"] for line in some)
        means = {loss: round(fmean(line[loss] for line in some), 4) for loss in losses}
        probed = {k: round(v, 4) for line in some for k, v in line.items() if k not in {*BOOKKEEPING, *losses}}
        seconds = round(sum(line["seconds"] for line in some), 2)
        kept.append({"step": some[-1]["step"] + 1, "tokens": tokens, "seconds": seconds, **means, **probed})
    return kept


# --- the card ---------------------------------------------------------------------------------------------------------


def card(recipe: ModelRecipe, parameters: int, log: Sequence[dict], abilities: Sequence[Ability]) -> str:
    """The card of a pretrained model, in Markdown; ``log``: one dictionary for each training step."""
    rng = random.Random("card")
    return _render(
        "card.md.j2",
        name=recipe.name,
        recipe=recipe,
        parameters=parameters,
        log=log,
        batches=hashlib.sha256("".join(line["batch"] for line in log).encode()).hexdigest(),
        abilities=abilities,
        documents={kind: corpus.document(rng, kind, 150, recipe.concludes).bracketed for kind in recipe.mixture},
    )


def tuned_card(
    tuning: Tuning,
    base: LM,
    examples: Sequence[TrainingExample],
    trained: Trained,
    abilities: Sequence[Ability],
    before: Mapping[str, float],
) -> str:
    """The card of an instruction-tuned model, in Markdown; ``before``: the share that its base gets right."""
    return _render(
        "tuned_card.md.j2",
        name=tuning.name,
        tuning=tuning,
        training=tuning.training,
        base=base,
        parameters=base.model.num_parameters(),
        device=name_of(base.device),
        n_examples=len(examples),
        examples=[_bracketed(base, one) for one in examples[:6]],
        trained=trained,
        abilities=abilities,
        before=before,
    )


def _bracketed(lm: LM, example: TrainingExample) -> str:
    """An example with brackets around what is trained."""
    start = example.positions[0]
    return f"{lm.tokenizer.decode(example.ids[:start])}[{lm.tokenizer.decode(example.ids[start:])}]"


def _render(template: str, **values: object) -> str:
    loader = jinja2.PackageLoader("adaptlab.studymodel", "templates")
    options = {"trim_blocks": True, "keep_trailing_newline": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=loader, **options)
    environment.filters |= {
        "percent": "{:.0%}".format,
        "thousands": "{:,}".format,
        "forms": lambda words: ", ".join(fill(word, a="…", b="…") for word in words),
    }
    return environment.get_template(template).render(
        {"before": None, **values},
        corpus=corpus,
        corpus_shots=corpus_shots,
        corpus_worlds=corpus_worlds,
        instructions=instructions,
        knowledge=knowledge,
        notes=notes,
        reasoning=reasoning,
        nouns=len(nouns("train")),
        undetermined=UNDETERMINED,
        machine=platform.machine(),
        versions=f"torch {torch.__version__.split('+')[0]}, Python {platform.python_version()}",
    )
