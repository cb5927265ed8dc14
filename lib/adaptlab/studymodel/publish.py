"""A finished study model as an ordinary model folder: weights, tokenizer, training log, abilities, and a card."""

import hashlib
import json
import os
import platform
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from adaptlab.engine.lm import LM
from adaptlab.engine.machine import name_of
from adaptlab.engine.models import load
from adaptlab.engine.packing import TrainingExample
from adaptlab.engine.training import Trained
from adaptlab.studymodel import corpus
from adaptlab.studymodel.abilities import Ability, measure
from adaptlab.studymodel.pretrain import UNDETERMINED
from adaptlab.studymodel.recipes import ModelRecipe, Tuning
from adaptlab.tasks import instructions, knowledge, notes, reasoning
from adaptlab.tasks.words import nouns

TRAINING, ABILITIES, CARD = "training.jsonl", "abilities.json", "README.md"
EVERY = 10  # steps that one line of the published log sums up
BOOKKEEPING = ("step", "batch", "tokens", "seconds", "device", "epoch", "lr", "norm")
LOSSES = ("determined", "undetermined")


class NotAStudyModel(ValueError):
    """The folder to write holds something else, which would be lost."""


def check_place(folder: Path) -> None:
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
    """Write the folder of a model raised from nothing, and measure what it can do, on nouns kept for this, ``n`` items
    each. Raises `NotAStudyModel` as `check_place` does."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    write(
        folder,
        model,
        tokenizer,
        thinned(lines),
        measured=lambda lm: measure(lm, n),
        told=lambda able: card(recipe, model.num_parameters(), lines, able),
    )


def write(
    folder: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    log: Sequence[dict],
    *,
    measured: Callable[[LM], list[Ability]],
    told: Callable[[list[Ability]], str],
) -> None:
    """Write a model folder: what ``measured`` says that the model can do, and the card that ``told`` makes of it.

    Weights are rounded to bfloat16 before they are measured: what the card tells is true of what the folder holds. The
    folder appears whole, in place of an older one. Raises `NotAStudyModel` as `check_place` does.
    """
    check_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        work.chmod(0o755)
        rounded = LlamaForCausalLM(model.config).to(torch.bfloat16)
        rounded.load_state_dict(model.state_dict())
        rounded.save_pretrained(work)
        tokenizer.save_pretrained(work)
        (work / TRAINING).write_text("".join(json.dumps(line) + "\n" for line in log))
        able = measured(load(str(work), device="cpu", dtype="float32"))
        (work / ABILITIES).write_text(json.dumps(list(map(_counted, able)), indent=1) + "\n")
        (work / CARD).write_text(told(able))
        _swap(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _swap(new: Path, folder: Path) -> None:
    """Put a folder in place of another; a kill leaves one of them whole."""
    if not folder.exists():
        os.replace(new, folder)
        return
    old = new.with_name(f"{new.name}-old")
    os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old)


def thinned(lines: Sequence[dict], kinds: Sequence[str] = LOSSES) -> list[dict]:
    """One line for every `EVERY` steps: tokens so far, seconds, mean losses of some ``kinds``, and what was probed."""
    kept, tokens = [], 0
    for start in range(0, len(lines), EVERY):
        some = lines[start : start + EVERY]
        tokens += sum(line["tokens"] for line in some)
        losses = {kind: round(fmean(line[kind] for line in some), 4) for kind in kinds}
        probed = {k: round(v, 4) for line in some for k, v in line.items() if k not in {*BOOKKEEPING, *losses}}
        seconds = round(sum(line["seconds"] for line in some), 2)
        kept.append({"step": some[-1]["step"] + 1, "tokens": tokens, "seconds": seconds, **losses, **probed})
    return kept


def _counted(one: Ability) -> dict:
    return {"name": one.name, "right": one.right, "n": one.n, "chance": one.chance}


CLOSING = """What is true of it demonstrates a mechanism; it is no evidence about large models.

Licence: Apache-2.0, like the code that made it.
"""


def card(recipe: ModelRecipe, parameters: int, log: Sequence[dict], measured: Sequence[Ability]) -> str:
    """The whole card; ``log``: one dictionary for each training step."""
    return f"""# {recipe.name}

A language model of {parameters / 1e6:.2f} million parameters (Llama architecture, {recipe.layers} layers of
width {recipe.hidden}, {recipe.heads} heads, context of {recipe.config().max_position_embeddings:,} tokens, bfloat16),
trained by adaptlab on text from its own generators. It is a model organism: small enough to train on a laptop, and able
to do in context what the kit's studies study.

{_origin(recipe, log)}

{abilities(measured)}

{_reading()}

{_course(recipe)}

## Use and limits

For studying methods on a laptop, and for teaching. It knows nothing of the world, and no English beyond the sentences
above. {CLOSING}"""


def tuned_card(
    tuning: Tuning,
    base: LM,
    examples: Sequence[TrainingExample],
    trained: Trained,
    measured: Sequence[Ability],
    before: Mapping[str, float],
) -> str:
    """The whole card of a model that was instruction-tuned; ``before``: what share its base gets right."""
    pages = "\n\n".join(f"```text\n{_marked(base, one)}\n```" for one in examples[:6])
    return f"""# {tuning.name}

[{tuning.base}](../{tuning.base}/README.md), a language model of {base.model.num_parameters() / 1e6:.2f} million
parameters that adaptlab trained on text of its own, instruction-tuned by adaptlab's own loop: all weights, on answers
that are plain and right. A model organism: beside its base, it shows what instruction tuning adds and takes away.

{_tuned_from(tuning, base, examples, trained)}

{abilities(measured, before)}

`Ten wordings` are those of the texts trained on; in the other abilities of instruction, requests have the three that
the base has read. Conversations have two turns, the second about the answer to the first: it is asked behind the
model's own answer, and right if it fits a right one. The last column is {tuning.base}, measured on the same items.

## What it was tuned on

Requests of {len(instructions.LIST_TASKS)} clusters in ten wordings each, conversations of two turns, and problems of
{len(reasoning.FAMILIES)} families, solved in steps; all answers right, all nouns of the split `train`. Two thirds have
the layout of questions, one third that of dialogue, which is the chat template's. Each answer is an example, behind its
page. What stands in brackets was trained: the answer, and the token that ends it. Earlier answers of a conversation
were only read, and what closes them too: the chat template ends a finished conversation with
`{base.tokenizer.eos_token}`, and earlier answers with a blank line.

{pages}

## Use and limits

For studying methods on a laptop, and for teaching. It knows nothing of the world, and no English beyond what it and its
base have read. It was tuned on pages of one turn or two; what it does behind more of them, the table tells (`3 shots`).
{CLOSING}"""


def _tuned_from(tuning: Tuning, base: LM, examples: Sequence[TrainingExample], trained: Trained) -> str:
    training, last = tuning.training, trained.log[-1]
    told = [line["held_out"] for line in trained.log if "held_out" in line]
    kinds = f"{tuning.requests:,} requests, {tuning.conversations:,} conversations, {tuning.problems:,} problems"
    return made_by(
        {
            "command": f"`adaptlab pretrain {tuning.name}`",
            "base": f"{base.name}, sha256 over its files {base.digest}",
            "texts": f"{kinds}: {len(examples):,} examples (held out: a tenth as many, of the split `probe`)",
            "seed": f"{training.seed}, of the texts and of their order",
            "plan": f"all weights, AdamW, {training.batch} examples a step, peak rate {training.lr:g} (up over"
            f" {training.warm_up:.0%} of the steps, {training.decay} decay), at most {training.epochs} epochs; ends"
            f" after {training.patience} without a lower held-out loss, with the weights where it was lowest",
            "steps, tokens": f"{last['step'] + 1:,} steps, {trained.tokens / 1e6:.2f} million tokens",
            "time": f"{trained.seconds / 60:.1f} minutes of training steps on {name_of(base.device)}"
            f" ({platform.machine()})",
            "held-out loss": f"{trained.log[0]['before']:.3f} nats a token before, then "
            f"{', '.join(f'{loss:.3f}' for loss in told)}, epoch by epoch",
        }
    )


def _marked(lm: LM, one: TrainingExample) -> str:
    """An example to read, with brackets around what is trained."""
    start = one.places[0]
    return f"{lm.tokenizer.decode(one.ids[:start])}[{lm.tokenizer.decode(one.ids[start:])}]"


def _origin(recipe: ModelRecipe, log: Sequence[dict]) -> str:
    stream = hashlib.sha256("".join(line["batch"] for line in log).encode()).hexdigest()
    tokens, minutes = sum(line["tokens"] for line in log), sum(line["seconds"] for line in log) / 60
    mixture = ", ".join(f"{kind} {share:.0%}" for kind, share in recipe.mixture.items())
    devices = ", ".join(sorted({line["device"] for line in log}))
    rows = {
        "command": f"`adaptlab pretrain {recipe.name}`",
        "seed": recipe.seed,
        "steps, tokens": f"{len(log):,} steps, {tokens / 1e6:.1f} million tokens",
        "time": f"{minutes:.0f} minutes of training steps on {devices} ({platform.machine()})",
        "documents": f"{mixture} (shares of the tokens)",
        "corpus": f"sha256 over the digests of all batches {stream}",
    }
    return made_by(rows)


def made_by(rows: Mapping[str, object]) -> str:
    """How a model came about, with the versions that made it, as a table."""
    rows = {**rows, "versions": f"torch {torch.__version__.split('+')[0]}, Python {platform.python_version()}"}
    return "\n".join(["| made by | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def abilities(measured: Sequence[Ability], base: Mapping[str, float] | None = None) -> str:
    """The section on what a model can do; ``base``: the shares of the model that it was made from, in a column."""
    named, rule = (" base |", " --- |") if base else ("", "")
    lines = [f"| ability | right | 95 % | n | chance |{named}", f"| --- | --- | --- | --- | --- |{rule}"]
    for one in measured:
        low, high = one.interval
        chance = "" if one.chance is None else f"{one.chance:.2f}"
        before = f" {base[one.name]:.3f} |" if base else ""
        lines.append(f"| {one.name} | {one.share:.3f} | {low:.3f} to {high:.3f} | {one.n} | {chance} |{before}")
    table = "\n".join(lines)
    return f"""## Abilities

Shares of right answers with 95 % intervals (Wilson). Invented nouns are those of the split `test`: no training document
holds them, and they were not used to watch the training. Problems without nouns are kept apart by a hash of the
question. "Shots" are demonstrations in the prompt. In `forward` and `reversal`, each noun stands in one of the 8 facts:
it is enough to name its neighbour. With the noun in two facts, the relation has to be read as well. `unknown` asks what
`reversal` asks, without the facts. In `noisy classification`, {max(corpus.NOISE):.0%} of the labels shown are drawn at
random; the one asked for is right. Problems are solved greedily, in one sample (T = 1), and in 16 samples: whether a
right one is among them, and whether the most probable one is right.

{table}"""


def _reading() -> str:
    rng = random.Random("card")
    pages = (f"*{kind}*\n\n```text\n{corpus.bracketed(corpus.document(rng, kind, 150))}\n```" for kind in corpus.KINDS)
    examples = "\n\n".join(pages)
    quantifiers = [knowledge.ALL, knowledge.SOME, knowledge.NO]
    styles = instructions.RESPONSE_STYLES
    return f"""## What it has read

{len(corpus.KINDS)} kinds of documents, one of each below. Names and labels are drawn anew for every document. What
stands in brackets had full weight in training: what follows from the text before, labels and answers. Most of it can be
known, but not a first label, a slip or a guess. The rest had a weight of {UNDETERMINED:.0%}.

{examples}

**Vocabulary.** {len(nouns("train")):,} invented nouns in training; {len(knowledge.RELATIONS)} reversible relations
({_list(knowledge.RELATIONS[:4])} …), quantifiers ({_list(quantifiers)}), abilities ({_list(knowledge.ABILITIES)});
{len(notes.TRAITS)} traits of notes ({_list(notes.TRAITS)}); {len(instructions.LIST_TASKS)} clusters of instructions
({_list(instructions.LIST_TASKS)}), three wordings each; the numbers 0 to 99.

**Errors on purpose.** In {sum(map(bool, corpus.NOISE)) / len(corpus.NOISE):.0%} of the documents of notes, labels are
drawn at random, up to {max(corpus.NOISE):.0%} of them. {reasoning.WRONG_STEP:.0%} of the arithmetic solutions hold a
wrong step; sums are often guessed, long ones more often than not; {reasoning.HASTY:.0%} of the ontology questions are
answered "no." without a look. The wording of a document's first request has a usual style of answer
({_list(styles)}; never the last), which the document has {instructions.USUAL:.0%} of the time; the others
share the rest."""


def _course(recipe: ModelRecipe) -> str:
    lines = ["| steps | longest document | rate | documents |", "| --- | --- | --- | --- |"]
    for step, phase in recipe.starts:
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in phase.mixture.items())
        lines.append(f"| from {step:,} | {phase.longest} tokens | {phase.rate:g} | {shares} |")
    rule = "The rate multiplies the learning rate, which falls from half way on."
    return "\n".join([f"**The course.** {rule}", "", *lines])


def _list(words: Iterable[str]) -> str:
    return ", ".join(word.replace("{}", "…") for word in words)
