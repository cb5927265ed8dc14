"""Sentences back to the facts that they state, in every wording of the kit's worlds: what a model writes can be judged.

The inverse of the generators in `worlds` and `worlds_structure`, made from the same wordings, those of `knowledge`.
"""

import re
from collections.abc import Iterator
from functools import cache

from adaptlab.tasks import knowledge
from adaptlab.tasks.knowledge import CALLED, NAMED, Fact
from adaptlab.tasks.wording import expression

CUES = ("So, ", "Again, ", "In other words, ")
# What stands before a fact in its frame, the longest first.
_BEFORE = sorted((frame.partition("{fact}")[0] for frame in knowledge.FRAMES), key=len, reverse=True)
NOUN, NAME, DESCRIPTION = r"[a-z]+", r"[a-z]+ [a-z]+", r"the [a-z]+ of [a-z]+"
_PLACES = {NAMED: (NAME, DESCRIPTION), CALLED: (DESCRIPTION, NAME)}


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """(pattern of a sentence without its stop, the form of the fact), for every wording; the longest first, since
    "all {a} are {b}" also fits "to the eye all {a} are {b}"."""
    forms = dict.fromkeys((*knowledge.FORM_INVERSES, *(form for pair in knowledge.COMPOSITIONS for form in pair)))
    found = []
    for form in (*forms, knowledge.IS_A, knowledge.CAN):
        wordings = [form, *knowledge.TOLD.get(form, ()), knowledge.ASKED.get(form, form).removesuffix(".")]
        wordings += [table[form] for table in (knowledge.REPHRASED, knowledge.REWORDED) if form in table]
        found += [(wording, form) for wording in dict.fromkeys(wordings)]
    found.sort(key=lambda one: -len(one[0]))
    patterns = []
    for wording, form in found:
        first, second = _PLACES.get(form, (NOUN, NOUN))
        patterns.append((re.compile(expression(wording, a=first, b=second)), form))
    return tuple(patterns)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, without their stops; a question stays with its answer, and what a document says first
    about "the relationships between" its nouns is no sentence."""
    body = re.sub(r"The relationships between [\w ,]+ are: ?", "", text)
    for part in re.split(r"(?<=[.?])\s+(?!Answer:)", body.strip()):
        if part.strip():
            yield part.strip().rstrip(".?")


def read_fact(sentence: str) -> Fact | None:
    """The fact that a sentence states, whatever its frame or cue; None for a sentence that states none."""
    said = sentence.strip().rstrip(".?")
    for cue in CUES:
        said = said.removeprefix(cue)
    said = said.removeprefix(next((before for before in _BEFORE if said.startswith(before)), ""))
    if said.startswith(("All ", "Some ", "No ")):
        said = said[0].lower() + said[1:]
    for pattern, form in _patterns():
        if found := pattern.fullmatch(said):
            return Fact(form, found["a"], found["b"])
    return None


def read_facts(text: str) -> list[Fact]:
    """The facts that a text states, in its order; sentences that state none are left out."""
    return [fact for sentence in sentences(text) if (fact := read_fact(sentence))]
