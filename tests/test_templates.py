"""Tasks as instruction data: templates, formats, data sets."""

import random
import re
from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptlab.tasks import templates
from adaptlab.tasks.instructions import with_list
from adaptlab.tasks.records import FieldError
from adaptlab.tasks.similarity import rouge_l
from adaptlab.tasks.templates import FORMATS, TASK_CLUSTERS, TASKS, dataset, example, held_out, solve_text
from adaptlab.tasks.words import SPLITS, english, english_words, nouns, of_words, study

seeds = st.integers(0, 10**6).map(random.Random)
list_tasks = st.sampled_from(list(TASKS))
drawers = st.sampled_from([make(split) for make in (study, english) for split in SPLITS])
numbers = st.integers(0, 9)
EVERY = [(name, i) for name in TASKS for i in range(10)]


# --- templates


def _words_only(template: str) -> str:
    return with_list(template, ()).strip()


def test_ten_templates_each_with_their_places():
    for task in TASKS.values():
        assert len(task.templates) == 10
        for text in task.templates:
            assert text.count("{x}") == 1 and text.count("{w}") == bool(task.argument)


def test_the_templates_of_a_cluster_are_no_near_copies():
    for name, task in TASKS.items():
        for one, other in combinations(map(_words_only, task.templates), 2):
            score = rouge_l(one, other)
            assert score < 0.8, (name, one, other, score)


def test_no_template_stands_in_two_clusters():
    counts = Counter(" ".join(_words_only(TASKS[name].templates[i]).split()) for name, i in EVERY)
    assert counts.most_common(1)[0][1] == 1


# What each cluster asks for, told once more, by hand.
BY_HAND = [
    ("copy", "owl bee ant", "", "owl bee ant"),
    ("reverse", "owl bee ant", "", "ant bee owl"),
    ("first", "owl bee ant", "", "owl"),
    ("last", "owl bee ant", "", "ant"),
    ("second", "owl bee ant", "", "bee"),
    ("rest", "owl bee ant", "", "bee ant"),
    ("swap", "owl bee ant cow", "", "cow bee ant owl"),
    ("double", "owl bee", "", "owl owl bee bee"),
    ("count", "owl bee ant cow", "", "4"),
    ("contains", "owl bee ant", "bee", "yes"),
    ("contains", "owl bee", "ant", "no"),
    ("after", "owl bee ant", "bee", "ant"),
    ("replace", "owl bee ant", "cow", "cow bee ant"),
    ("longer", "owl bee", "ant cow pig", "second"),
    ("longer", "owl bee", "ant", "first"),
    ("ends", "owl bee owl", "", "same"),
    ("ends", "owl bee", "", "different"),
]


def test_solvers_by_hand():
    assert [TASKS[name].solve(words.split(), argument) for name, words, argument, _ in BY_HAND] == [
        answer for *_, answer in BY_HAND
    ]
    assert {name for name, *_ in BY_HAND} == set(TASKS)
    with pytest.raises(ValueError, match="neither list is longer"):
        TASKS["longer"].solve(["owl", "bee"], "ant cow")


@pytest.mark.parametrize("name", ["contains", "longer", "ends"])
def test_two_way_tasks_are_balanced(name):
    counts = Counter(record.output for record in dataset(0, 600, [name], english()))
    assert len(counts) == 2
    assert min(counts.values()) > 250


# --- kinds


def test_every_cluster_is_of_one_kind():
    assert sorted(cluster for group in TASK_CLUSTERS.values() for cluster in group) == sorted(TASKS)


def test_held_out_by_kind():
    train, held = held_out(["look up", "copy"])
    assert set(held) == {"copy", "double", "contains", "after"}
    assert sorted(train + held) == sorted(TASKS)
    assert held_out([])[1] == ()


def test_held_out_refuses():
    with pytest.raises(FieldError, match=r"field 'clusters': expected one of 'copy', 'order', .*, found 'sort'"):
        held_out(["copy", "sort"])
    with pytest.raises(FieldError, match="at least one cluster left"):
        held_out(list(TASK_CLUSTERS))


# --- one example


def test_the_three_formats_by_hand():
    draw = of_words(("owl", "bee", "ant", "cow", "pig", "fox"))
    asked = {f: example(random.Random(3), "after", draw, f, 3) for f in FORMATS}
    bare = asked["no template"].instruction
    word, words = bare.split(": ")
    assert asked["name"].instruction == f"[after] {bare}"
    assert asked["instruction"].instruction == f"List: {words}\nWhich word stands directly behind {word}?"
    assert {a.output for a in asked.values()} == {words.split()[words.split().index(word) + 1]}
    assert {(a.input, a.category) for a in asked.values()} == {("", "after")}
    assert len({a.id for a in asked.values()}) == 3


@given(seeds, list_tasks, st.sampled_from(SPLITS), numbers)
def test_every_word_is_of_the_vocabulary_or_of_the_template(rng, cluster, split, template):
    for draw, known in ((english(split), english_words(split)), (study(split), nouns(split))):
        asked = example(rng, cluster, draw, template=template).instruction
        own = re.findall("[a-z]+", TASKS[cluster].templates[template].lower())
        assert set(re.findall("[a-z]+", asked.lower())) <= {*known, *own}


def test_example_refuses():
    rng, draw = random.Random(0), english()
    for wrong, message in (
        ({"task": "sort"}, "field 'task': expected one of 'copy'"),
        ({"task": "copy", "format": "chat"}, "field 'format': expected one of 'no template', 'name', 'instruction'"),
        ({"task": "copy", "template": 10}, "field 'template': expected 0 to 9, found 10"),
        ({"task": "copy", "template": -1}, "field 'template': expected 0 to 9, found -1"),
    ):
        with pytest.raises(FieldError, match=message):
            example(rng, vocabulary=draw, **wrong)


# --- data sets


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(1, 60), st.sets(list_tasks, min_size=1), drawers, st.sampled_from(FORMATS))
def test_a_data_set_is_distinct_and_balanced_in_every_first_part(seed, n, names, draw, format):
    names = sorted(names)
    records = dataset(seed, n, names, draw, format)
    assert len(records) == n == len({r.id for r in records}) == len({r.instruction for r in records})
    for part in (n, n // 2):
        counts = Counter(r.category for r in records[:part])
        assert max(counts.values(), default=0) - min(counts.get(name, 0) for name in names) <= 1
    assert records == dataset(seed, n, names, draw, format)


def test_formats_and_numbers_of_templates_share_their_lists():
    names = list(TASKS)
    sets = [dataset(5, 60, names, english(), f) for f in FORMATS]
    sets += [dataset(5, 60, names, english(), templates=k) for k in (1, 2, 4, 7, [8])]
    assert len({tuple((r.category, r.output) for r in records) for records in sets}) == 1
    assert dataset(6, 60, names, english(), "no template") != sets[0]


@pytest.mark.parametrize("k", [1, 2, 4, 7, 10, [5], [9, 0, 3]])
def test_the_first_k_templates_or_those_named_are_used_and_all_of_them(k):
    used = Counter()
    for record in dataset(1, 200, ["reverse"], english(), templates=k):
        (number,) = (
            i
            for i, text in enumerate(TASKS["reverse"].templates)
            if re.fullmatch(re.escape(text).replace(r"\{x\}", "[a-z ]+"), record.instruction)
        )
        used[number] += 1
    assert sorted(used) == (list(range(k)) if isinstance(k, int) else sorted(k))


def test_too_many_examples_are_refused(monkeypatch):
    draw = of_words(("owl", "bee", "ant"))  # six lists of three words
    monkeypatch.setitem(TASKS, "copy", replace(TASKS["copy"], sample=lambda rng, vocabulary: (vocabulary(rng, 3), "")))
    assert len(dataset(0, 6, ["copy"], draw)) == 6
    with pytest.raises(FieldError, match=r"field 'n': .*found 7; 6 were sampled, then nothing new of 'copy' in 1000"):
        dataset(0, 7, ["copy"], draw)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 0}, "field 'n': expected 1 or more, found 0"),
        ({"list_tasks": []}, "field 'list_tasks': expected a list of tasks, not empty"),
        ({"list_tasks": "copy"}, "field 'list_tasks': expected a list of tasks, not empty, found 'copy'"),
        ({"list_tasks": ["copy", "copy"]}, "found 'copy' twice"),
        ({"list_tasks": ["sort"]}, "found 'sort'"),
        ({"templates": 0}, "field 'templates': expected 1 to 10, found 0"),
        ({"templates": 11}, "field 'templates': expected 1 to 10, found 11"),
        ({"templates": []}, r"field 'templates': expected numbers from 0 to 9, found \[\]"),
        ({"templates": [0, 10]}, r"field 'templates': expected numbers from 0 to 9, found \[0, 10\]"),
        ({"format": "chat"}, "field 'format'"),
    ],
)
def test_dataset_refuses(wrong, message):
    good = {"seed": 0, "n": 4, "list_tasks": ["copy", "count"], "vocabulary": english()}
    assert len(dataset(**good)) == 4
    with pytest.raises(FieldError, match=message):
        dataset(**good | wrong)


# --- reading a question back


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("make", [study, english])
def test_every_template_reads_back_to_its_answer(name, make):
    rng = random.Random(name)
    for split in SPLITS:
        for number in range(10):
            for _ in range(5):
                record = example(rng, name, make(split), template=number)
                assert solve_text(record.instruction) == record.output
                assert solve_text(f" {record.instruction}\n") == record.output
            named = example(rng, name, make(split), "name")
            assert solve_text(named.instruction) == named.output


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Sort this list: owl bee ant",
        "Copy this list:",
        "Copy this list: owl",
        "Copy this list: owl, bee, ant",
        "Copy this list: Owl bee",
        "Copy this list: owl  bee",
        "Copy this list: owl bee ant\nReverse this list: owl bee ant",
        "Repeat the words in this list",
        "Repeat the words owl bee in the opposite order",
        "Copy this list: {x}",
        "Is owl bee in this list: ant cow",
        "Say what follows cow: owl bee ant",
        "Say what follows ant: owl bee ant",
        "Say what follows owl: owl bee owl ant",
        "[longer] owl bee / ant cow",
        "[sort] owl bee",
        "owl bee ant",
    ],
)
def test_a_question_without_one_sure_answer_has_none(question):
    assert solve_text(question) is None


def test_answers_are_worked_out_from_the_text():
    assert solve_text("Reverse this list: spam ham eggs") == "eggs ham spam"
    assert solve_text("[after] ham: spam ham eggs") == "eggs"
    assert solve_text("Which list has more words, the first or the second? First: spam ham. Second: eggs.") is None


@pytest.mark.parametrize(("answer", "known"), [("owl", "owl"), ("bee", None)])
def test_two_readings_with_different_answers_are_no_answer(monkeypatch, answer, known):
    """A task of the same wordings as another: only where both come to the same answer is it one."""
    twin = replace(TASKS["first"], solve=lambda words, argument: answer)
    monkeypatch.setitem(TASKS, "twin", twin)
    templates._patterns.cache_clear()
    try:
        assert solve_text("With which word does it begin?") is None
        assert solve_text("List: owl bee\nWith which word does it begin?") == known
    finally:
        templates._patterns.cache_clear()


@given(st.text())
def test_any_other_text_has_no_answer(text):
    assert solve_text(text) is None
