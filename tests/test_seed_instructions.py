"""The seed instructions are what their card says: right where a machine can tell, varied, and tidy."""

import hashlib
import json
import re
import statistics
from collections import Counter
from fractions import Fraction
from itertools import combinations, product

import pytest
from rapidfuzz.distance import LCSseq

from adaptlab import paths
from adaptlab.tasks import formats
from adaptlab.tasks.instructions import LIST_TASKS
from adaptlab.tasks.records import Instruction, content_key
from adaptlab.tasks.sets import load_seed
from format_files import PUBLIC, public

FOLDER = paths.DATA / "instructions"
FILE = FOLDER / "seed.json"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
SEED = load_seed()
BY_ID = {record.id: record for record in SEED}

# The numbers in which an answer ends, worked out here.
RESULTS = {
    "s014": [5 * 6 * 3],
    "s025": [Fraction(15, 100) * 240],
    "s031": [17 + 26 + 9 + 41],
    "s045": [(13 * 60 + 5) - (9 * 60 + 40)],
    "s068": [Fraction(12 + 15 + 9 + 20, 4)],
    "s076": [7 * Fraction(300, 4)],
    "s086": [Fraction(156, 12)],
    "s100": [Fraction("2.5") * 18],
    "s124": [2 * (14 + 9), 14 * 9],
    "s140": [Fraction("4.5") + Fraction("2.75") + 6],
    "s147": [4 / (1 - Fraction(1, 2) - Fraction(1, 3))],
    "s166": [31 + 2 * (31 - 15)],  # the steps are 4, 8, 16
}
# What a conversion makes of its input, where that is a matter of rule.
CONVERSIONS = {
    "s008": lambda x: ", ".join(sorted(x.split(", "))),
    "s019": lambda x: f"{12 + 8 - 1}.{60 - 15}",
    "s038": lambda x: f"{Fraction(x.split()[0]) * 100} centimetres",
    "s053": lambda x: ", ".join(x.split(" / ")[:-1]) + " and " + x.split(" / ")[-1],
    "s098": str.title,
    "s107": lambda x: f"{Fraction(x.split()[0]) * 9 / 5 + 32} degrees Fahrenheit",
    "s145": lambda x: f"{60 + 60 * 3 // 4} minutes",
    "s159": lambda x: "\n".join(f"{n}. {line}" for n, line in enumerate(x.split("\n"), 1)),
}


def kind(record: Instruction) -> str:
    """The category, without the cluster of a list."""
    return record.category.split(":")[0]


def of(category: str) -> list[Instruction]:
    return [record for record in SEED if kind(record) == category]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def rouge_l(a: str, b: str) -> float:
    """F1 of the longest common subsequence of words."""
    one, other = words(a), words(b)
    return 2 * LCSseq.similarity(one, other) / (len(one) + len(other))


def closest() -> float:
    return max(rouge_l(a.instruction, b.instruction) for a, b in combinations(SEED, 2))


def lengths(field: str, records: tuple[Instruction, ...] | list[Instruction] = SEED) -> list[int]:
    """Words between white space, of records in which the field is not blank."""
    return [len(getattr(record, field).split()) for record in records if getattr(record, field)]


CATEGORIES = sorted({kind(record) for record in SEED})


def test_the_loader_gives_every_row_in_its_order():
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    assert [row["id"] for row in rows] == [f"s{n:03d}" for n in range(1, len(rows) + 1)]
    assert tuple(Instruction(**row) for row in rows) == SEED


def test_a_writer_gives_the_same_bytes(tmp_path):
    formats.write_alpaca(tmp_path / "seed.json", SEED)
    assert (tmp_path / "seed.json").read_bytes() == FILE.read_bytes()


def test_categories():
    sizes = Counter(map(kind, SEED))
    assert sizes.pop("lists") == 24
    assert len(sizes) == 12 and set(sizes.values()) == {12}


def test_every_run_of_14_holds_every_category():
    for start in range(0, len(SEED), 14):
        assert Counter(map(kind, SEED[start : start + 14])) == {c: 1 + (c == "lists") for c in CATEGORIES}
    assert {record.category for record in SEED[:84]} >= {f"lists: {cluster}" for cluster in LIST_TASKS}


# ---------------------------------------------------------------- right where a machine can tell


def test_every_cluster_of_lists_occurs_twice():
    assert Counter(record.category for record in of("lists")) == {f"lists: {cluster}": 2 for cluster in LIST_TASKS}
    assert {record.output for record in of("lists") if record.category == "lists: contains"} == {"yes", "no"}


@pytest.mark.parametrize("record", of("lists"), ids=lambda record: record.category)
def test_lists_are_answered_as_the_solver_does(record):
    row, cluster = record.input.split(" "), record.category.removeprefix("lists: ")
    assert 3 <= len(row) == len(set(row)) <= 8
    assert all(re.fullmatch("[a-z]+", word) for word in row)
    quoted = re.findall(r'"(\w+)"', record.instruction)
    assert len(quoted) == (cluster in ("contains", "after", "replace"))
    assert record.output == LIST_TASKS[cluster].solve(row, *(quoted or [""]))


def test_sums_come_out():
    assert set(RESULTS) == {record.id for record in of("arithmetic")}
    for name, results in RESULTS.items():
        found = [Fraction(number) for number in re.findall(r"\d+(?:\.\d+)?", BY_ID[name].output)]
        assert found[-len(results) :] == results, name


def test_every_equation_holds():
    equations = [e for r in SEED for e in re.findall(r"(\d[\d.]*(?: [+x/] [\d.]+)+) = (\d+(?:\.\d+)?)", r.output)]
    assert len(equations) == sum(record.output.count(" = ") for record in SEED) > 5
    for sum_, result in equations:
        exact = re.sub(r"[\d.]+", r"Fraction('\g<0>')", sum_).replace("x", "*")
        assert eval(exact, {"Fraction": Fraction}) == Fraction(result), sum_


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions_by_rule(name):
    assert kind(BY_ID[name]) == "conversion"
    assert BY_ID[name].output == CONVERSIONS[name](BY_ID[name].input)


@pytest.mark.parametrize(("name", "gap"), [("s008", ", "), ("s043", "; "), ("s102", ", ")])
def test_what_is_put_in_order_is_all_there(name, gap):
    before, after = BY_ID[name].input.split(gap), BY_ID[name].output.rstrip(".").split(gap)
    assert before != after
    assert sorted(map(str.casefold, before)) == sorted(map(str.casefold, after))


def test_a_class_is_one_that_the_instruction_names():
    for record in of("classification"):
        assert record.output in words(record.instruction)


def test_a_summary_is_shorter_than_its_text():
    for record in of("summarising"):
        assert len(words(record.output)) < 0.7 * len(words(record.input)), record.id


def test_what_is_extracted_stands_in_the_text():
    labels = set("day place subject verb object title author".split())
    for record in of("extraction"):
        added = set(words(record.output)) - set(words(record.input)) - labels
        assert all(word.isdigit() for word in added), record.id  # numerals for number words


# ---------------------------------------------------------------- varied and tidy


def test_no_instruction_is_close_to_another():
    assert closest() <= 0.7
    assert len({content_key(record.instruction) for record in SEED}) == len(SEED)


@pytest.mark.parametrize("field", ["input", "output"])
def test_no_longer_text_occurs_twice(field):
    texts = [getattr(record, field) for record in SEED if len(getattr(record, field).split()) > 1]
    assert len({content_key(text) for text in texts}) == len(texts)


@public
def test_no_instruction_is_close_to_a_seed_task_of_self_instruct():
    published = formats.load_self_instruct(PUBLIC / "self_instruct_seed_tasks.jsonl")
    pairs = product(SEED, published)
    near = [(a.id, b.id) for a, b in pairs if rouge_l(a.instruction, b.instruction) > 0.7]
    assert len(published) == 175
    assert near == []


@pytest.mark.parametrize("field", ["instruction", "input", "output"])
def test_texts_are_tidy(field):
    for record in SEED:
        text = getattr(record, field)
        assert text.isascii()  # and so in normal form, NFC
        for line in text.split("\n") if text else []:
            assert line.isprintable() and line == " ".join(line.split()) != "", record.id


def test_texts_begin_and_end_as_they_should():
    for record in SEED:
        assert 4 <= len(record.instruction.split()) <= 40 and len(record.output.split()) <= 80, record.id
        assert record.instruction[0].isupper() and record.instruction[-1] in ".?!", record.id
        assert record.output[-1] in '.?!"' or len(record.output.split()) <= 12, record.id


# ---------------------------------------------------------------- the card


def rows_of_the_card() -> dict[str, list[str]]:
    """First cell of every table row, and the other cells."""
    split = ([c.strip() for c in line.strip("|").split("|")] for line in CARD.splitlines() if line.startswith("|"))
    return {first: rest for first, *rest in split}


@pytest.mark.parametrize("category", [*(f"`{category}`" for category in CATEGORIES), "all"])
def test_the_cards_category_table(category):
    records = SEED if category == "all" else of(category.strip("`"))
    means = [f"{statistics.mean(lengths(field, records)):.1f}" for field in ("instruction", "output")]
    with_input = statistics.mean(record.input != "" for record in records)
    assert rows_of_the_card()[category][1:] == [str(len(records)), *means, f"{with_input:.2f}"]


def test_the_cards_form_table():
    table = rows_of_the_card()
    for field in ("instruction", "input", "output"):
        counts = lengths(field)
        spread = f"{min(counts)} to {max(counts)} words between white space, median {statistics.median(counts):g}"
        assert spread in table[f"`{field}`"][0], spread
    assert f"`s001` to `{SEED[-1].id}`" in table["`id`"][0]


def test_the_cards_other_numbers():
    size = f"with right answers, in {len(CATEGORIES)} categories"
    assert f"{len(SEED)} instructions in everyday English {size}" in CARD
    assert f"{len(SEED)} instructions {size}" in load_seed.__doc__
    questions = sum("?" in record.instruction for record in SEED)
    openings = len({words(record.instruction)[0] for record in SEED})
    assert f"{questions} of the instructions hold a question mark; they open with {openings} different words" in CARD
    assert f"ROUGE-L F of two instructions is at most {closest():.2f}" in " ".join(CARD.split())
    assert f"{len(CONVERSIONS)} of the conversions" in CARD


def test_the_cards_hash():
    assert re.findall(r"`([0-9a-f]{64})`", CARD) == [hashlib.sha256(FILE.read_bytes()).hexdigest()]
