"""Labelled sets told through templates."""

import string
from itertools import combinations

import pytest

from adaptlab.tasks.records import FieldError
from adaptlab.tasks.sets import as_instructions, label_options, load_task
from adaptlab.tasks.similarity import rouge_l
from adaptlab.tasks.splits import LabelledSet
from adaptlab.tasks.wording import load_templates

TEXTS = load_templates("labelled")


@pytest.mark.parametrize("name", TEXTS)
def test_templates_of_labelled_sets(name):
    fields = [tuple(f for _, f, _, _ in string.Formatter().parse(text) if f) for text in TEXTS[name]]
    assert fields == [("text",)] * 8 + [("label",)] * 2
    for one, other in combinations(TEXTS[name], 2):
        assert rouge_l(one, other) < 0.8


@pytest.mark.parametrize("name", TEXTS)
def test_a_labelled_set_keeps_its_items_and_splits(name):
    data = load_task(name)
    suffix = label_options(data.labels)
    for split in ("pool", "test"):
        items, records = getattr(data, split), as_instructions(data, split, 1)
        assert [r.id for r in records] == [item.id for item in items]
        turned = 0
        for item, record in zip(items, records, strict=True):
            if record.output == item.text:
                turned += 1
                assert item.label in record.instruction and item.text not in record.instruction
                assert suffix not in record.instruction
            else:
                assert record.output == item.label
                assert item.text in record.instruction
                assert record.instruction.endswith(suffix)
        assert (0.1 < turned / len(records) < 0.3) if split == "pool" else turned == 0
        assert records == as_instructions(data, split, 1)


def test_options_by_hand():
    assert label_options(("repair", "hire")) == "\n\nOPTIONS:\n- repair\n- hire"


def test_the_first_templates_of_a_labelled_set():
    data = load_task("messages")
    for split in ("pool", "test"):
        (prefix,) = {r.instruction.split("\n\n")[0] for r in as_instructions(data, split, templates=1)}
        assert prefix == "Which desk of the bicycle shop should get this message?"


def test_labelled_refuses():
    data = load_task("messages")
    with pytest.raises(FieldError, match="field 'templates': expected 1 to 10, found 11"):
        as_instructions(data, "pool", templates=11)
    with pytest.raises(FieldError, match="field 'split': expected one of 'pool', 'test', found 'train'"):
        as_instructions(data, "train")
    with pytest.raises(FieldError, match=r"field 'data.name': expected one of 'messages', 'notes', found 'mine'"):
        as_instructions(LabelledSet("mine", data.labels, data.pool, data.test), "pool")
