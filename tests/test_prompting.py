"""Demonstrations are balanced, nested and paired as promised; prompts have the published structure."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.methods.prompting import CHAT, demonstrate, name_labels, render
from adaptlab.tasks.prompt_formats import FORMATS
from adaptlab.tasks.records import Demonstration
from adaptlab.tasks.sets import load_messages
from conftest import tiny_tokenizer

DATA = load_messages()
ks, seeds = st.integers(0, 64), st.integers(0, 1000)
DEMOS = (Demonstration("first message", "A"), Demonstration("second message", "B"))


@given(small=ks, large=ks, seed=seeds)
def test_samples_are_nested_balanced_and_repeatable(small, large, seed):
    small, large = sorted((small, large))
    few, many = DATA.sample(small, seed), DATA.sample(large, seed)
    assert many[:small] == few
    assert len({item.id for item in many}) == large
    counts = Counter(item.label for item in many)
    assert max((counts[label] for label in DATA.labels), default=0) - min(counts[label] for label in DATA.labels) <= 1


def test_samples_differ_between_seeds_and_stop_at_the_pool():
    assert DATA.sample(8, 0) != DATA.sample(8, 1)
    with pytest.raises(ValueError, match="cannot sample 201 balanced demonstrations: the pool holds 50"):
        DATA.sample(201, 0)


@given(k=ks, more=ks, seed=seeds, kind=st.sampled_from(["letters", "words"]))
def test_shuffling_loses_the_pairing_and_nothing_else(k, more, seed, kind):
    items, label_names = DATA.sample(max(k, more), seed), name_labels(DATA.labels, kind, seed)
    right, shuffled = (demonstrate(items, label_names, prefix + kind, seed) for prefix in ("", "shuffled-"))
    assert [label_names[item.label] for item in items] == [d.answer for d in right]
    assert [d.query for d in right] == [d.query for d in shuffled]
    assert demonstrate(items[:k], label_names, f"shuffled-{kind}", seed) == shuffled[:k], "nested"
    for whole in range(0, len(items) - 3, 4):
        assert sorted(d.answer for d in shuffled[whole : whole + 4]) == sorted(label_names.values()), "balanced"


@given(k=st.integers(1, 20), seed=seeds, kind=st.sampled_from(["letters", "words"]))
def test_shifted_labels_are_those_of_the_text_before(k, seed, kind):
    items, label_names = DATA.sample(k, seed), name_labels(DATA.labels, f"shifted-{kind}", seed)
    right, shifted = (demonstrate(items, label_names, prefix + kind, seed) for prefix in ("", "shifted-"))
    assert [d.answer for d in shifted] == [right[i - 1].answer for i in range(k)]


@pytest.mark.parametrize("k", [1, 2, 3, 64])
def test_shuffled_labels_are_right_about_as_often_as_chance(k):
    agree = []
    for seed in range(1000):
        items, label_names = DATA.sample(k, seed), name_labels(DATA.labels, "letters", seed)
        pairs = zip(items, demonstrate(items, label_names, "shuffled-letters", seed), strict=True)
        agree += [d.answer == label_names[i.label] for i, d in pairs]
    assert 0.21 < sum(agree) / len(agree) < 0.29


@given(seed=seeds)
def test_letters_are_dealt_out_once_each(seed):
    assert sorted(name_labels(DATA.labels, "letters", seed).values()) == ["A", "B", "C", "D"]
    assert name_labels(DATA.labels, "words", seed) == {label: label for label in DATA.labels}


@pytest.mark.parametrize("style", FORMATS)
@given(k=st.integers(0, 6), more=st.integers(0, 6))
def test_a_longer_prompt_begins_with_the_shorter_ones_demonstrations(style, k, more):
    demos = [Demonstration(f"message {i}", "A") for i in range(k + more)]
    short, long = (render(style, "Sort.", d, "query", None) for d in (demos[:k], demos))
    shared = short[: short.rindex("query")]
    turn = FORMATS[style].turn.replace("{instruction}", "Sort.")
    assert long.startswith(shared[: len(shared) - turn.index("{query}")])


def test_plain_prompt():
    assert render("plain", "Sort.", DEMOS, "third", None) == (
        "Sort.\n\nMessage: first message\nDesk: A\n\nMessage: second message\nDesk: B\n\nMessage: third\nDesk:"
    )


def test_urial_prompt_has_the_published_blocks():
    text = render("urial", "Sort.", DEMOS[:1], "third", None)
    assert text == (
        "# Instruction\n\nSort.\n"
        "\n# Query:\n```\nfirst message\n```\n\n# Answer:\n```\nA\n```\n"
        "\n# Query:\n```\nthird\n```\n\n# Answer:\n```\n"
    )


def test_a_query_with_braces_is_text():
    assert "{instruction} and {query}" in render("plain", "Sort.", (), "{instruction} and {query}", None)


def test_chat_uses_the_tokenizers_template():
    tokenizer = tiny_tokenizer()
    with pytest.raises(ValueError, match=r"no chat template.*plain"):
        render(CHAT, "Sort.", DEMOS, "third", tokenizer)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    assert render(CHAT, "Sort.", DEMOS[:1], "third", tokenizer) == (
        "[system]Sort.[user]first message[assistant]A[user]third[assistant]"
    )


def test_unknown_choices_list_the_known():
    with pytest.raises(ValueError, match=r"plain.*urial.*alpaca.*chat.*'xml'"):
        render("xml", "Sort.", (), "q", None)
    with pytest.raises(ValueError, match=r"letters.*shuffled-words.*'numbers'"):
        name_labels(DATA.labels, "numbers", 0)


def test_an_instruction_may_hold_the_mark_of_the_query():
    text = render("alpaca", "Fill in {query}.", (), "a word", None)
    assert "Fill in {query}." in text and text.count("a word") == 1
