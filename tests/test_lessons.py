"""Texts to train on: tokens are those of the whole text, trained are the answers and the end, and pictures say so."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.engine.lm import LM
from adaptlab.engine.loss_mask import tokenize_with_mask
from adaptlab.engine.models import load
from adaptlab.methods.tuning import build_examples
from adaptlab.studies.fine_tuning import check_examples, packed_tokens, show_loss_mask
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import Conversation, Instruction, Message
from adaptlab.tasks.sets import load_open
from conftest import tiny_lm

RECORDS = [Instruction(f"r{n}", f"Count these: {'a ' * n}", "", f"answer {n}", "") for n in range(1, 6)]
TALK = Conversation(
    "t", (Message("user", "one"), Message("assistant", "two"), Message("user", "and"), Message("assistant", "four"))
)


@pytest.fixture(scope="module")
def lm() -> LM:
    return tiny_lm("llama")


def said(lm: LM, example) -> str:
    return lm.tokenizer.decode(example.targets)


@pytest.mark.parametrize("style", sorted(FORMATS))
def test_a_lesson_is_the_page_with_its_answer_and_an_end(lm, style):
    record = RECORDS[2]
    (example,) = build_examples(lm, [record], style)
    layout = FORMATS[style]
    page = layout.prompt("", [], record.query) + layout.separator + record.output
    assert list(example.ids) == [*lm.encode(page), lm.tokenizer.eos_token_id]
    assert said(lm, example) == f"{layout.separator}{record.output}<eos>"


def test_of_a_conversation_all_answers_are_trained_and_what_closes_them(lm):
    (example,) = build_examples(lm, [TALK], "question")
    assert lm.tokenizer.decode(example.ids) == "Question: one\nAnswer: two\n\nQuestion: and\nAnswer: four<eos>"
    assert said(lm, example) == " two\n\n four<eos>"


@pytest.mark.parametrize("name", ["llama", "study"])
def test_whole_texts_can_be_trained_but_for_their_first_token(name):
    model = load("study") if name == "study" else tiny_lm(name)
    (example,) = build_examples(model, [RECORDS[0]], whole=True)
    assert example.weight == len(example) - 1


@given(
    st.lists(st.tuples(st.sampled_from(["one ", "two\n", " three", "é", ": "]), st.booleans()), min_size=2, max_size=6)
)
def test_tokens_are_those_of_the_whole_text(parts):
    model = _cached()
    parts = [("begin ", False), *parts, (" end", True)]
    try:
        example = tokenize_with_mask(model, parts)
    except ValueError as error:
        assert "takes in a part" in str(error)
        return
    assert list(example.ids[:-1]) == model.encode("".join(text for text, _ in parts))


def _cached(kept=[]):  # noqa: B006 (one tokenizer for all examples)
    if not kept:
        kept.append(tiny_lm("llama"))
    return kept[0]


def test_a_token_across_the_seam_is_refused(lm):
    with pytest.raises(ValueError, match="takes in a part that is trained and one that is not"):
        tokenize_with_mask(lm, [("the red ho", False), ("use", True)])


def test_a_text_that_does_not_fit_is_refused(lm):
    with pytest.raises(ValueError, match="does not fit into the 256 of llama"):
        tokenize_with_mask(lm, [("a b " * 300, False), (" c", True)])


def test_a_tokenizer_without_an_end_is_refused(lm):
    tokenizer = tiny_lm("llama").tokenizer
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="names no end token"):
        tokenize_with_mask(LM("endless", lm.model, tokenizer, "x"), [("one", False), (" two", True)])


def test_the_picture_counts_every_token_once(lm):
    examples = build_examples(lm, RECORDS)
    table = packed_tokens(lm, examples, max_tokens=64)
    real = table[table.segment > 0]
    assert len(real) == sum(map(len, examples))
    assert (real.role == "trained").sum() == sum(e.weight for e in examples)
    assert table.groupby("row").size().nunique() == 1, "rows are filled up to one length"
    spelled = real[real.role == "trained"].groupby(["row", "segment"]).text.sum()
    assert sorted(spelled) == sorted(f" {r.output}<eos>" for r in RECORDS)


def test_the_picture_escapes_what_texts_hold(lm):
    html = show_loss_mask(lm, build_examples(lm, [Instruction("x", "<script>alert(1)</script>", "", "<b>", "")])).html
    assert "<script>" not in html and "&lt;" in html and "row 0</b> (" in html, "counts stand in the picture"


def test_checks_find_each_mistake(lm):
    good = build_examples(lm, RECORDS)
    answers = [record.output for record in RECORDS]
    assert (check_examples(lm, good, answers).holds == 5).all()
    endless = [
        tokenize_with_mask(lm, FORMATS["question"].training_parts([(r.query, r.output)]), ends=False) for r in RECORDS
    ]
    assert (
        check_examples(lm, endless, answers).set_index("check").holds["the end token is there, last, and trained"] == 0
    )
    found = check_examples(lm, build_examples(lm, RECORDS, whole=True), answers).set_index("check")
    assert found.holds["what is trained is the answer and nothing else"] == 0
    assert found["fails at"]["what is trained is the answer and nothing else"] == [0, 1, 2, 3, 4]


def test_two_beginnings_are_found():
    lm = load("study")
    (example,) = build_examples(lm, load_open("requests").pool[:1])
    spelled, bos = tokenize_with_mask(lm, [("<bos>one", False), (" two", True)]), lm.tokenizer.bos_token_id
    assert spelled == tokenize_with_mask(lm, [("one", False), (" two", True)]) and spelled.ids.count(bos) == 1
    doubled = replace(spelled, ids=(bos, *spelled.ids), loss_mask=(False, *spelled.loss_mask))
    found = check_examples(lm, [example, doubled], [load_open("requests").pool[0].output, "two"]).set_index("check")
    assert found["fails at"]["there is one beginning at most"] == [1]
