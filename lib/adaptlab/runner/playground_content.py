"""What the playground holds: twins that the kit's own methods tune in a few seconds each, and the texts of its panels.

All texts come from the generators in `tasks`, with the nouns that no study model has met in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import adaptlab as al
from adaptlab.engine.lm import LM
from adaptlab.methods import augmentation, distillation, self_training, sharpening
from adaptlab.methods.augmentation import LEAD, Texts
from adaptlab.methods.prompting import WorldPrompt, class_prompt
from adaptlab.studies import augmentation as study
from adaptlab.studies.sharpening import LONGEST, Asked, problems
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.reasoning import FAMILIES
from adaptlab.tasks.words import study as study_words
from adaptlab.tasks.worlds import World, reversals

FACTS, ARTICLES = 6, 3  # of the world that is read or learned
SPLITS = {"forward": "as it was told", "reversal": "from the other end", "sentence": "which sentence follows"}
LORA = al.Lora(8, 16)
ON_DOCUMENTS = al.FinetuneConfig(LORA, al.TrainingConfig(epochs=24, batch=16, lr=0.005))
ON_READING = al.FinetuneConfig(LORA, al.TrainingConfig(steps=36, batch=12, lr=0.005))
ON_WINNERS = al.FinetuneConfig(LORA, al.TrainingConfig(steps=12, batch=16, lr=0.003))
PROBLEMS, SAMPLES = 24, 8  # of each family, of each problem
TRIED = {"sums": 3, "arithmetic": 2, "ontology": 2}  # problems of each family
START, POOL, QUESTIONS = 8, 32, 6  # notes: shown at first, to add, to ask


@dataclass(frozen=True)
class Twin:
    """The model with adapters: its panel, what it was trained on in a sentence, and some of the texts."""

    id: str
    name: str
    panel: str
    about: str
    lm: LM = field(repr=False)
    texts: tuple[str, ...] = ()


def world() -> World:
    """The facts of the third panel."""
    return reversals(0, FACTS, ARTICLES, study_words("test"))


def twins(lm: LM) -> list[Twin]:
    """The tuned copies of a model that the panels compare it with."""
    told = [document.text for document in world().documents]
    shown = [document.text for document in study.one_each(world())]
    return [_on_documents(lm, told), _on_inferences(lm, told, shown), _distilled(lm, shown), _sharpened(lm)]


def _on_documents(lm: LM, told: list[str]) -> Twin:
    tuned = al.tune(lm, Texts(lm).of(told), ON_DOCUMENTS, bar=False)
    about = f"tuned on the {len(told)} documents, {ON_DOCUMENTS.training.epochs} times each."
    return Twin("documents", "tuned on the documents", "learn", about, tuned.lm, tuple(told))


def _on_inferences(lm: LM, told: list[str], shown: list[str]) -> Twin:
    made = augmentation.infer(lm, shown, augmentation.groups(len(shown), 1), samples=2, temperature=0.5)
    inferred = made.written_again().texts
    tuned = al.tune(lm, Texts(lm).of(told, inferred), ON_DOCUMENTS, bar=False)
    about = "tuned on the same documents, and on what the model itself inferred while it read them, one at a time:"
    lines = tuple(f"{LEAD} {text}" for text in inferred)
    return Twin("inferences", "tuned on documents and own inferences", "learn", about, tuned.lm, lines)


def _distilled(lm: LM, shown: list[str]) -> Twin:
    asked = [[f"{LEAD} {noun}" for noun in augmentation.nouns([text])] for text in shown]
    source = distillation.SelfDistillation(lm, [f"{text} " for text in shown], asked, batch=ON_READING.training.batch)
    tuned = al.tune(lm, source, ON_READING, loss=distillation.divergence, bar=False)
    about = (
        "tuned to expect, without a document, what the model expects with it (prompt distillation, "
        f"{ON_READING.training.steps} steps). It was never trained on a document; it began as here:"
    )
    return Twin("distilled", "distilled", "learn", about, tuned.lm, tuple(text for row in asked for text in row))


def _sharpened(lm: LM) -> Twin:
    winners = []
    for family in FAMILIES:
        prompts = [one.prompt for one in problems(family, "train", PROBLEMS, seed=0)]
        pool = sharpening.sample(lm, prompts, SAMPLES)
        winners += self_training.winners(pool, pool.logprob)
    tuned = al.tune(lm, winners, ON_WINNERS, bar=False)
    about = f"tuned on the most probable of {SAMPLES} texts that it wrote for each of {len(winners)} other problems."
    return Twin("sharpened", "sharpened", "try", about, tuned.lm)


def texts(lm: LM) -> dict[str, Any]:
    """What stands in the panels, as plain JSON."""
    return {"prompts": _prompts(lm), "notes": _notes(), "world": _world(), **_problems()}


def sample_of_texts(content: dict[str, Any]) -> list[str]:
    """Prompts of every panel: on these it is measured how far stored weights move the model."""
    facts = content["world"]["facts"]
    asked = [f"{fact['document']} {one['stem']}{one['texts'][0]}" for fact in facts for one in fact["questions"]]
    return [one["text"] for one in content["prompts"]] + [one["prompt"] for one in content["problems"]] + asked


def _prompts(lm: LM) -> list[dict[str, str]]:
    data = al.load_open("requests", pool=8, test=4)
    shown = study.one_each(world())
    item = study.questions(world(), "reversal")[0]
    notes = al.load_task("notes")
    sorting = class_prompt(notes, notes.sample(8, 0), label_mapping="letters")
    family = problems("arithmetic", "test", 1, seed=0)[0]
    read = WorldPrompt(shown[:1], lead=LEAD)(next(_about(shown[0].facts[0], "reversal")))[0]
    alone = WorldPrompt(lead=LEAD)(item)[0]
    return [
        {"name": "a fact that was read, from its other end", "text": read},
        {"name": "the same kind of question, with nothing read", "text": alone},
        {"name": "a request behind two others", "text": al.shown(lm, data.pool[:2]).prompt(data.test[0].query)},
        {"name": "a note to sort, behind eight others", "text": sorting(notes.items(1)[0])[0]},
        {"name": "a problem", "text": family.prompt},
    ]


def _about(fact: Any, split: str):
    """The items of a split that ask for a fact, from whichever end."""
    return (item for item in study.questions(world(), split) if item.gold.fact in (fact, fact.reversed))


def _notes() -> dict[str, Any]:
    notes, layout = al.load_task("notes"), FORMATS["plain"]
    mappings = []
    for name, mapping in (("letters", "letters"), ("words", "words")):
        prompt = class_prompt(notes, (), label_mapping=mapping)
        mappings.append({"name": name, "instruction": prompt.instruction, "names": dict(prompt.label_names)})
    return {
        "format": {name: getattr(layout, name) for name in ("head", "turn", "separator", "end")},
        "mappings": mappings,
        "start": START,
        "pool": [{"text": one.text, "label": one.label} for one in notes.sample(POOL, 0)],
        "questions": [{"text": one.text, "label": one.label} for one in notes.items(QUESTIONS)],
    }


def _world() -> dict[str, Any]:
    prompt, facts = WorldPrompt(lead=LEAD), []
    for document in study.one_each(world()):
        (fact,) = document.facts
        asked = [prompt(next(_about(fact, split))) for split in SPLITS]
        questions = [{"stem": stem, "texts": list(options.values())} for stem, options in asked]
        facts.append({"told": fact.sentence, "document": document.text, "questions": questions})
    return {"asked": list(SPLITS.values()), "facts": facts, "documents": " ".join(one["document"] for one in facts)}


def _problems() -> dict[str, Any]:
    asked: Sequence[Asked] = [one for family, n in TRIED.items() for one in problems(family, "test", n, seed=0)]
    found = [
        {
            "question": f"{one.problem.family}: {one.problem.question}",
            "prompt": one.prompt,
            "answer": one.problem.answer,
            "numbers": one.problem.answer not in ("yes", "no"),
        }
        for one in asked
    ]
    return {"problems": found, "longest": max(LONGEST.values())}
