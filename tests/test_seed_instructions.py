"""The seed instructions are what their card says: right where a machine can tell, varied, and tidy."""

import hashlib
import json
import re
from collections import Counter
from itertools import combinations

import pytest

from adaptlab import paths
from adaptlab.tasks.instructions import LIST_TASKS, list_answer
from adaptlab.tasks.records import Instruction, content_key
from adaptlab.tasks.sets import load_seed
from adaptlab.tasks.similarity import rouge_l

FOLDER = paths.DATA / "instructions"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
SEED = load_seed()


def kind(record: Instruction) -> str:
    """The category, without the task of a list."""
    return record.category.split(":")[0]


def test_the_file_is_the_one_that_the_card_describes():
    data = (FOLDER / "seed.json").read_bytes()
    assert re.findall(r"`([0-9a-f]{64})`", CARD) == [hashlib.sha256(data).hexdigest()]
    assert tuple(Instruction(**row) for row in json.loads(data)) == SEED
    assert [record.id for record in SEED] == [f"s{n:03d}" for n in range(1, len(SEED) + 1)]


def test_categories_are_balanced_throughout_and_counted_in_the_card():
    sizes = Counter(map(kind, SEED))
    assert sizes == {name: 24 if name == "lists" else 12 for name in sizes} and len(sizes) == 13
    for start in range(0, len(SEED), 14):
        assert Counter(map(kind, SEED[start : start + 14])) == {c: 1 + (c == "lists") for c in sizes}
    for name, size in sizes.items():
        assert re.search(rf"\| `{name}` \|[^|]*\| {size} \|", CARD), name
    assert f"{len(SEED)} instructions with right answers, in {len(sizes)} categories" in load_seed.__doc__


@pytest.mark.parametrize("task", LIST_TASKS)
def test_lists_are_answered_as_the_solver_does(task):
    records = [record for record in SEED if record.category == f"lists: {task}"]
    assert len(records) == 2
    assert [record.output for record in records] == [list_answer(record) for record in records]


def test_every_equation_holds():
    equations = [e for r in SEED for e in re.findall(r"(\d[\d.]*(?: [+x/] [\d.]+)+) = (\d+(?:\.\d+)?)", r.output)]
    assert len(equations) == sum(record.output.count(" = ") for record in SEED) > 5
    for sum_, result in equations:
        assert eval(sum_.replace("x", "*")) == pytest.approx(float(result)), sum_


def test_a_class_is_one_that_the_instruction_names():
    for record in SEED:
        if kind(record) == "classification":
            assert record.output in re.findall(r"[a-z0-9]+", record.instruction.lower())


def test_no_instruction_is_close_to_another():
    assert max(rouge_l(a.instruction, b.instruction) for a, b in combinations(SEED, 2)) <= 0.7
    assert len({content_key(record.instruction) for record in SEED}) == len(SEED)


def test_texts_are_tidy():
    for record in SEED:
        assert record.instruction[0].isupper() and record.instruction[-1] in ".?!", record.id
        for text in (record.instruction, record.input, record.output):
            assert text.isascii(), record.id
            for line in text.split("\n") if text else []:
                assert line.isprintable() and line == " ".join(line.split()) != "", record.id
