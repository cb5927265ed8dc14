"""How a model is asked for instruction data, and how what it writes is read.

Three recipes. `SELF_INSTRUCT` asks for instructions first, then decides which are classification, then writes an
instance of each (Wang et al. 2022, arXiv 2212.10560, section 2.2); `ALPACA` asks for all at once (Taori et al. 2023);
`PAGES` continues a page of questions and answers, the only text of the kind that the study model has read. The wording
of the prompts is ours. Settings are those of the papers; the presence penalty of Self-Instruct is left out.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from adaptlab.engine.generation import Decoding, generate
from adaptlab.engine.lm import LM
from adaptlab.engine.scoring import Request, score
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import Instruction
from adaptlab.tasks.wording import fill

NO_INPUT = "<none>"
SHORT = 60  # words of a seed that is shown with its input and output
INSTANCES = 3  # of them, of each sort
_NUMBER = re.compile(r"(?:^|\n)\s*\d+\s*[.:]\s")
_FIELDS = re.compile(r"Instruction:(?P<instruction>.*?)\nInput:(?P<input>.*?)\nOutput:(?P<output>.*)", re.DOTALL)


class Draft(NamedTuple):
    """What a model wrote for a record; ``output`` is blank as long as none is written."""

    instruction: str
    input: str = ""
    output: str = ""


@dataclass(frozen=True)
class GenerationRecipe:
    """How to ask: with ``human`` examples from the seeds and ``made`` of the model's own.

    ``prompt`` lays examples out; ``read`` makes drafts of what follows it, where the second argument says whether the
    model stopped by itself. What cannot be read comes back as text. ``instances``: whether inputs and outputs are
    written in a second step.
    """

    name: str
    human: int
    made: int
    prompt: Callable[[Sequence[Instruction]], str]
    read: Callable[[str, bool], list[Draft | str]]
    temperature: float
    top_p: float
    max_new_tokens: int  # tokens
    stop: tuple[str, ...]
    instances: bool = False

    def shown(self, rng: random.Random, seeds: Sequence[Instruction], made: Sequence[Instruction]) -> list[Instruction]:
        """Examples for one prompt, shuffled; seeds stand in for the model's own as long as there are too few."""
        own = rng.sample(made, min(self.made, len(made)))
        examples = [*own, *rng.sample(seeds, self.human + self.made - len(own))]
        return rng.sample(examples, len(examples))

    def write(self, lm: LM, shown: Sequence[Sequence[Instruction]], seed: int) -> list[Draft | str]:
        """What the model writes behind the examples of each prompt."""
        prompts = [self.prompt(examples) for examples in shown]
        decoding = Decoding(self.temperature, self.top_p, max_new_tokens=self.max_new_tokens, stop=self.stop)
        completions = generate(lm, prompts, decoding, seed=seed).completions
        return [draft for w in completions for draft in self.read(w.text, w.stopped)]


def instances(lm: LM, drafts: Sequence[Draft], seeds: Sequence[Instruction], rng: random.Random) -> list[Draft]:
    """The drafts with an input and an output that the model writes for each instruction.

    For classification the output comes first and the input second: else a model writes inputs of one class mostly
    (Wang et al. 2022, section 2.2, step 3). Which instructions are classification is asked of the model, too.
    """
    if not drafts:
        return []
    short = [one for one in seeds if len(f"{one.instruction} {one.input} {one.output}".split()) <= SHORT]
    labels = [one for one in short if one.category == "classification"]
    others = [one for one in short if one.category != "classification"]
    orders = [
        ("Output", "Input") if yes else ("Input", "Output") for yes in _few_labels(lm, drafts, labels, others, rng)
    ]
    prompts = []
    for draft, order in zip(drafts, orders, strict=True):
        like = labels if order[0] == "Output" else others
        told = [_instance(one, order) for one in rng.sample(like, min(INSTANCES, len(like)))]
        prompts.append("".join(told) + f"Task: {draft.instruction}\n{order[0]}:")
    completions = generate(lm, prompts, Decoding(max_new_tokens=120, stop=("\n\n", "\nTask:"))).completions
    return [
        _completed(*one) for one in zip(drafts, orders, (w.text if w.stopped else "" for w in completions), strict=True)
    ]


def _few_labels(
    lm: LM, drafts: Sequence[Draft], labels: list[Instruction], others: list[Instruction], rng: random.Random
) -> list[bool]:
    """Whether the model holds "yes" for likelier than "no" when asked if a few labels are all the answers there are."""
    examples = [(one, "yes") for one in rng.sample(labels, min(INSTANCES, len(labels)))]
    examples += [(one, "no") for one in rng.sample(others, min(INSTANCES, len(others)))]
    turn = "Task: {task}\nIs the answer one of a few labels?"
    head = "".join(f"{fill(turn, task=one.instruction)} {yes}\n\n" for one, yes in rng.sample(examples, len(examples)))
    asked = [Request(head + fill(turn, task=draft.instruction), (" yes", " no")) for draft in drafts]
    return [yes.logprob > no.logprob for yes, no in score(lm, asked).options]


def _instance(one: Instruction, order: tuple[str, str]) -> str:
    values = {"Input": one.input or NO_INPUT, "Output": one.output}
    return f"Task: {one.instruction}\n" + "".join(f"{field}: {values[field]}\n" for field in order) + "\n"


def _completed(draft: Draft, order: tuple[str, str], text: str) -> Draft:
    """The draft with what the text says, up to where it starts again; no output where its second field is missing."""
    first, found, second = text.partition(f"\n{order[1]}:")
    second = second.partition(f"\n{order[0]}:")[0]
    values = dict(zip(order, (_told(first), _told(second)), strict=True)) if found else {"Input": "", "Output": ""}
    return Draft(draft.instruction, values["Input"], values["Output"])


def _told(text: str) -> str:
    """A field's text; nothing, where the model says so in the prompt's way."""
    return text.strip().removeprefix(NO_INPUT).strip()


def _numbered(examples: Sequence[Instruction]) -> str:
    listed = "".join(f"{n}. {_line(one.instruction)}\n" for n, one in enumerate(examples, start=1))
    return f"Come up with a series of tasks:\n{listed}{len(examples) + 1}."


def _line(text: str) -> str:
    return " ".join(text.split())


def _items(text: str, stopped: bool) -> list[Draft | str]:
    """The items of a list; the last one of a text that was cut off is left out, since nobody knows how it ends."""
    items = [item.strip() for item in _NUMBER.split(text)]
    return [Draft(item) if item else item for item in (items if stopped else items[:-1])]


def _blocks(examples: Sequence[Instruction]) -> str:
    head = "Here are 20 varied tasks for a language model, each with an input, if it needs one, and an output.\n\n"
    told = "".join(
        f"{n}. Instruction: {_line(one.instruction)}\nInput: {one.input or NO_INPUT}\nOutput: {one.output}\n###\n"
        for n, one in enumerate(examples, start=1)
    )
    return f"{head}{told}{len(examples) + 1}."


def _fields(text: str, stopped: bool) -> list[Draft | str]:
    blocks = text.split("###")
    drafts: list[Draft | str] = []
    for block in blocks if stopped else blocks[:-1]:
        found = _FIELDS.search(block)
        values = {name: _told(value) for name, value in found.groupdict().items()} if found else {}
        drafts.append(Draft(**values) if values.get("instruction") else block.strip())
    return [draft for draft in drafts if draft]


_PAGE = FORMATS["question"]


def _page(examples: Sequence[Instruction]) -> str:
    return _PAGE.turns((one.instruction, one.output) for one in examples) + _PAGE.turn.split("{query}")[0].rstrip()


def _turn(text: str, stopped: bool) -> list[Draft | str]:
    asked, found, answer = text.partition(_PAGE.turn.split("{query}")[1])
    whole = stopped and found and asked.strip()
    return [Draft(asked.strip(), "", answer.strip()) if whole else text]


SELF_INSTRUCT = GenerationRecipe(
    "self-instruct", 6, 2, _numbered, _items, 0.7, 0.5, 400, ("\n\n", "\n16.", "\n16 ."), instances=True
)
ALPACA = GenerationRecipe("alpaca", 3, 0, _blocks, _fields, 1.0, 1.0, 800, ("\n21.",))
PAGES = GenerationRecipe("pages", 6, 2, _page, _turn, 0.7, 1.0, 60, ("\n\n",))
GENERATION_RECIPES = {recipe.name: recipe for recipe in (SELF_INSTRUCT, ALPACA, PAGES)}
