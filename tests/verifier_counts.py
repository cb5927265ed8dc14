"""Texts with so many of something, for the checks that count. A function that takes a count n builds n of its thing."""

import random
from collections.abc import Callable
from typing import Any

WORDS = "amber brick cloud dune ember grove hazel inlet kelp larch maple novel otter plume river slate tulip".split()
Case = tuple[dict[str, Any], str, str]  # arguments, a text that obeys, a text that does not


def some(rng: random.Random, low: int = 2, high: int = 9) -> list[str]:
    return [rng.choice(WORDS) for _ in range(rng.randint(low, high))]


def sentence(rng: random.Random) -> str:
    return " ".join(some(rng)).capitalize() + rng.choice(".!?")


def prose(rng: random.Random, count: int = 0) -> str:
    return " ".join(sentence(rng) for _ in range(count or rng.randint(1, 4)))


def counts(rng: random.Random, relation: str, bound: int) -> tuple[int, int]:
    """A count within the relation and one beyond; two times in three, those at the boundary itself."""
    slack = rng.choice((0, 0, rng.randint(1, 3)))
    above, below = bound + slack, max(0, bound - 1 - slack)
    return (above, below) if relation == "at least" else (below, above)


def scattered(rng: random.Random, parts: list[str], filler: list[str]) -> str:
    """The parts among filler, in any order, and in any spacing that keeps words apart."""
    mixed = parts + filler
    rng.shuffle(mixed)
    return "".join(part + rng.choice((" ", " ", "\n", ". ", "; ")) for part in mixed)


def related(build: Callable[[random.Random, int], str], bound: str, relation: str = "relation", **others: Any):
    """Cases of a check that counts, where `build(rng, n)` is a text that has n of what is counted."""

    def case(rng: random.Random) -> Case:
        chosen, number = rng.choice(("at least", "less than")), rng.randint(1, 6)
        good, bad = counts(rng, chosen, number)
        return {bound: number, relation: chosen, **others}, build(rng, good), build(rng, bad)

    return case


def least(build: Callable[[random.Random, int], str], bound: str, **others: Any):
    """Cases of a check for at least so many."""

    def case(rng: random.Random) -> Case:
        number = rng.randint(1, 6)
        good, bad = counts(rng, "at least", number)
        return {bound: number, **others}, build(rng, good), build(rng, bad)

    return case


def exactly(build: Callable[[random.Random, int], str], bound: str, **others: Any):
    """Cases of a check for exactly so many."""

    def case(rng: random.Random) -> Case:
        number = rng.randint(1, 6)
        other = number + rng.choice((1, 1, 3)) if number == 1 or rng.random() < 0.5 else number - 1
        return {bound: number, **others}, build(rng, number), build(rng, other)

    return case


def keyword_text(rng, n):  # "joist" is not in WORDS; "joists" and "rejoist" hold it and are other words
    near = rng.choices(["joists", "rejoist", "joi st", *WORDS], k=rng.randint(1, 9))
    return scattered(rng, [rng.choice(("joist", "JOIST", "'Joist'", "**joist**", "joist-ed")) for _ in range(n)], near)


def letters(rng, n):  # no word of these holds a q
    return scattered(rng, [rng.choice(("quay", "PLAQUE", "Q", "coq")) for _ in range(n)], some(rng))


def words_text(rng, n):
    marks = [rng.choice((" - ", " * ", "… ", " ___ ", " & ", "\n\n")) for _ in range(3)]
    return "! " + rng.choice(marks).join(rng.choice((*WORDS, "4711", "été", "_kelp_")) for _ in range(n)) + " ?"


def sentences_text(rng, n):
    pieces = []
    for _ in range(n):
        start = rng.choice(("", "Dr. ", "J. ", "E.g. ", '"', "(", "7 ", "U.S. ", "3.5 "))
        end = {'"': '"', "(": ")"}.get(start, "")
        pieces.append(start + sentence(rng).rstrip(".!?") + rng.choice((".", "!", "?", "...", "?!", "…")) + end)
    unended = rng.random() < 0.3 and pieces
    gaps = [rng.choice((" ", "\n", "\n\n", " \n \n", "\n1. ")) for _ in pieces]
    # A blank line ends a sentence by itself.
    pieces = [
        piece.rstrip('.!?…)"') if gap.count("\n") == 2 else piece for piece, gap in zip(pieces, gaps, strict=True)
    ]
    text = "".join(map("".join, zip(pieces, gaps, strict=True))).removesuffix("\n1. ")
    return text.rstrip().rstrip(".!?…)\"'") if unended else text or "—"


def paragraphs_text(rng, n):
    blocks = ["\n\n".join(prose(rng) for _ in range(rng.randint(1, 2))) for _ in range(n)]
    inner = rng.choice(("\n***\n", "\n\n***\n\n", "\n   ***  \n"))
    outer = rng.choice(("", "***\n"))
    return outer + inner.join(blocks) + rng.choice(("", "\n***", "\n***\n"))


def placeholders(rng, n):
    found = [f"[{' '.join(some(rng, 1, 3))}]" for _ in range(n)]
    return scattered(rng, found, some(rng) + rng.choices(["[]", "[ ]", "(name)", "[open", "shut]"], k=3)[:1])


def bullets(rng, n):
    sign = rng.choice("*-")
    found = [f"{rng.choice(('', '  '))}{sign} {' '.join(some(rng))}" for _ in range(n)]
    others = ["***", "---", "* * *", "*hazel* grove", "**hazel**", "-5 degrees", "1. kelp", "a * b - c", "*", "- "]
    lines = found + rng.choices(others, k=3) + [sentence(rng)]
    rng.shuffle(lines)
    return "\n".join(lines)


def highlights(rng, n):
    found = [rng.choice(("*{}*", "**{}**")).format(" ".join(some(rng, 1, 3))) for _ in range(n)]
    others = ["**", "* kelp", "****", "2 * 3 * 4", "*kelp\ngrove", "_kelp_"]
    return "\n".join([*found, *rng.sample(others, k=3), sentence(rng)])


def sections(rng, n):
    marks = [
        rng.choice(("SECTION {}", "**SECTION {}**", "## SECTION {}:", "SECTION{}")).format(k + 1) for k in range(n)
    ]
    again = [marks[0]] if marks else []
    others = ["Section 9", "section 8", "SECTION X", "SUBSECTION 7", "SECTIONS 6"]
    return "\n".join(f"{mark}\n{sentence(rng)}" for mark in marks + again + rng.sample(others, k=2))


def capitals(rng, n):
    others = rng.choices(["Kelp", "grove", "mcKELP", "42", "I'm", "WELL-known", "---"], k=rng.randint(1, 6))
    return scattered(rng, [rng.choice(("KELP", "I", "A", "COVID-19", "DON'T", "**LOUD**")) for _ in range(n)], others)
