"""A tiny forward-chaining reasoner that reads the documents of invented worlds as text.

It shares nothing with the generators: its own patterns, its own rules. What it cannot read, it refuses.
"""

import re

W = r"([a-z]+)"
NAME = r"([a-z]+ [a-z]+)"
DESCRIPTION = r"(the [a-z]+ of [a-z]+)"
OPPOSITES = (
    "bigger smaller faster slower older younger taller shorter stronger weaker richer poorer louder quieter brighter "
    "darker warmer colder heavier lighter thicker thinner harder softer nearer farther sweeter sourer"
).split()
LESS = dict(zip(OPPOSITES[1::2], OPPOSITES[::2], strict=True))

# pattern -> (relation, which group comes first); the first that fits the end of a sentence counts
PATTERNS = [
    (rf"to the eye all {W} are {W}", "look", (1, 2)),
    (rf"the {W} are known to look {W}", "look", (1, 2)),
    (rf"every {W} has the look of {W}", "look", (1, 2)),
    (rf"how do the {W} look\? answer: {W}", "look", (1, 2)),
    (rf"among those that look {W} are the {W}", "look", (2, 1)),
    (rf"those that look {W} include all the {W}", "look", (2, 1)),
    (rf"all {W} look {W}", "look", (1, 2)),
    (rf"among those that can {W} are the {W}", "can", (2, 1)),
    (rf"those that can {W} include all the {W}", "can", (2, 1)),
    (rf"it is in the nature of the {W} to {W}", "can", (1, 2)),
    (rf"the {W} know how to {W}", "can", (1, 2)),
    (rf"every {W} is able to {W}", "can", (1, 2)),
    (rf"what can the {W} do\? answer: {W}", "can", (1, 2)),
    (rf"all {W} can {W}", "can", (1, 2)),
    (rf"among the {W} are the {W}", "isa", (2, 1)),
    (rf"the {W} include the {W}", "isa", (2, 1)),
    (rf"the {W} are a kind of {W}", "isa", (1, 2)),
    (rf"whatever is a {W} is a {W}", "isa", (1, 2)),
    (rf"every {W} is a {W}", "isa", (1, 2)),
    (rf"to what do the {W} belong\? answer: {W}", "isa", (1, 2)),
    (rf"all {W} are {W}", "isa", (1, 2)),
    (rf"some {W} are {W}", "some", (1, 2)),
    (rf"no {W} are {W}", "no", (1, 2)),
    (rf"{DESCRIPTION} (?:is called|goes by the name of|is none other than|was|is) {NAME}", "same", (2, 1)),
    (rf"the name of {DESCRIPTION} is {NAME}", "same", (2, 1)),
    (rf"the one known as {NAME} is {DESCRIPTION}", "same", (1, 2)),
    (rf"{NAME}(?:, as it happens,)? (?:is best known as|has long been|became|is) {DESCRIPTION}", "same", (1, 2)),
]
Claim = tuple[str, str, str]


def read(sentence: str) -> Claim:
    """What a sentence claims; a comparison is turned so that it says more."""
    text = sentence.lower().strip().rstrip(".?")
    if found := re.search(rf"{W} (?:that )?is {W} than {W}$", text):
        one, how, other = found.groups()
        return (LESS[how], other, one) if how in LESS else (how, one, other)
    for pattern, relation, order in PATTERNS:
        if found := re.search(rf"(?:^|(?<=\W)){pattern}$", text):
            first, second = (found[i] for i in order)
            return relation, first, second
    raise AssertionError(f"cannot read: {sentence!r}")


def sentences(document: str) -> list[str]:
    """The sentences of a document; a question stays with its answer."""
    body = re.sub(r"^The relationships between .*? are: ", "", document)
    return [part for part in re.split(r"(?<=[.?]) +(?!Answer:)", body) if part]


def deduce(claims: set[Claim]) -> set[Claim]:
    """Everything that follows, by rules over pairs of claims, until nothing new does."""
    known = set(claims)
    while True:
        new = {(r, b, a) for r, a, b in known if r in ("some", "no")}
        under: dict[str, list[str]] = {}
        for relation, a, b in known:
            if relation == "isa":
                under.setdefault(b, []).append(a)
        for relation, a, b in known:
            below = under.get(a, [])
            if relation in ("isa", "can", "look", "no"):  # what holds for all of a class holds for its parts
                new |= {(relation, x, b) for x in below if x != b}
            if relation == "isa":  # who is among the a is among the b
                new |= {("some", x, b) for r, x, y in known if r == "some" and y == a and x != b}
        if new <= known:
            return known
        known |= new


def claim(stem: str, option: str) -> Claim:
    return read(option if stem.endswith("are:") else f"{stem} {option}")
