"""What a notebook may be given, and what is refused before anything runs."""

import shutil

import nbformat
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook

from adaptlab import paths
from adaptlab.runner import notebooks
from adaptlab.runner.parameters import Parameter, ParameterError, check, declared, parse
from adaptlab.studies import augmentation, demo_search

CELL = """# the quick profile
model: str = "study"  # a name or a folder
shots: list[int] = [0, 1, 4]  # numbers of demonstrations
lr: float = 0.001
seed: int = 0
tags: list = ["a", 1]
interactive: bool = False
"""


def notebook(*sources: str):
    return new_notebook(cells=[new_code_cell(source, metadata={"tags": ["parameters"]}) for source in sources])


@pytest.fixture
def known():
    return declared(notebook(CELL))


def test_a_parameters_cell_is_read_without_running_it(known):
    assert list(known) == ["model", "shots", "lr", "seed", "tags", "interactive"]
    assert known["shots"] == Parameter("shots", "list[int]", [0, 1, 4], "numbers of demonstrations")
    assert known["lr"].help == "" and known["tags"].default == ["a", 1]


@pytest.mark.parametrize(("cells", "found"), [([], "none has"), ([CELL, CELL], "cells 1, 2 have")])
def test_exactly_one_cell_is_tagged(cells, found):
    with pytest.raises(ParameterError, match=f"exactly one cell .*{found}"):
        declared(notebook(*cells))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("seed: int = None", "seed is None"),
        ("seed = 3", "`seed = 3` is not a parameter"),
        ("seed: int", "not a parameter"),
        ("import os", "`import os` is not a parameter"),
        ("seed: int = 2 * 3", "seed is derived"),
        ("seed: int = int('3')", "seed is derived"),
        ("seed: int | None = 3", "seed has the type int | None; allowed are str, int"),
        ("seed: dict = {}", "has the type dict"),
        ("seed: int = 'three'", "seed must be of type int, not 'three'"),
        ("seed: int = True", "seed must be of type int, not True"),
        ("shots: list[int] = [1, 'x']", r"shots[1] must be of type int"),
        ("seed: int = 1; lr: float = 2.0", "one a line"),
        ("shots: list[int] = [\n1]", "one a line"),
        ("seed: int = 1  # seed=1 is usual", "equals sign"),
        ("seed: int = 1\nseed: int = 2", "line 3: seed stands twice"),
        ("seed: int = (", "line 2: "),
        ("%matplotlib inline", "line 2: "),
    ],
)
def test_a_cell_that_papermill_would_misread_is_refused(line, problem):
    with pytest.raises(ParameterError) as caught:
        declared(notebook("model: str = 'study'\n" + line))
    assert problem in str(caught.value) and "notebook, parameters cell, line" in str(caught.value)


def test_given_values_go_over_the_defaults_and_ints_become_floats(known):
    values = check(known, {"seed": 3, "lr": 1, "shots": (2, 8)})
    assert values | {} == {
        "model": "study", "shots": [2, 8], "lr": 1.0, "seed": 3, "tags": ["a", 1], "interactive": False,
    }  # fmt: skip
    assert type(values["lr"]) is float


def test_an_unknown_parameter_names_the_nearest_and_lists_all(known):
    with pytest.raises(ParameterError) as caught:
        check(known, {"shot": [1]}, "here")
    message = str(caught.value)
    assert message.startswith("here: unknown parameter 'shot'. Did you mean shots?")
    assert "seed: int = 0" in message and "(numbers of demonstrations)" in message


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("lr", "0.1", "write 0.1"),
        ("lr", yaml.safe_load("1e-3"), "not '1e-3' (str); write 0.001"),
        ("lr", yaml.safe_load("2e-5"), "write 0.00002"),
        ("lr", "fast", "must be of type float, not 'fast' (str)"),
        ("lr", float("nan"), "must be of type float, not nan"),
        ("lr", True, "must be of type float, not True"),
        ("seed", 1.0, "must be of type int, not 1.0"),
        ("seed", True, "must be of type int, not True"),
        ("seed", None, "must be of type int, not None"),
        ("model", 3, "must be of type str"),
        ("interactive", 1, "must be of type bool"),
        ("shots", 4, "must be of type list[int], such as [0, 1, 4], not 4"),
        ("shots", "14", "must be of type list[int]"),
        ("shots", [1, "4"], "shots[1] must be of type int"),
        ("tags", [[1]], "tags[0] must be of type str, int, float or bool"),
    ],
)
def test_a_wrong_type_is_refused(known, name, value, problem):
    with pytest.raises(ParameterError) as caught:
        check(known, {name: value})
    assert problem in str(caught.value) and name in str(caught.value)


def test_command_line_texts_are_read_by_the_declared_type(known):
    texts = ["lr=1e-3", "seed=-2", "shots=[0, 4]", "model=a=b", "interactive=True", "tags=[x, 2]"]
    assert parse(known, texts) == {
        "lr": 0.001, "seed": -2, "shots": [0, 4], "model": "a=b", "interactive": True, "tags": ["x", 2],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["seed"], "write NAME=VALUE, such as -p 'model=study'"),
        (["sed=1"], "Did you mean seed?"),
        (["seed=1", "seed=2"], "given twice"),
        (["seed=1.5"], "must be of type int, not '1.5'"),
        (["interactive=yes"], "must be true or false"),
        (["shots=4"], "must be a list"),
        (["shots=[1, x]"], "must be of type int, not 'x'"),
        (["shots=[[1]]"], "must be a flat list of int"),
        (["shots=[1"], "must be a list"),
    ],
)
def test_command_line_texts_that_do_not_fit_are_refused(known, texts, problem):
    with pytest.raises(ParameterError) as caught:
        parse(known, texts)
    assert problem in str(caught.value)


scalars = {"str": st.text(), "int": st.integers(), "float": st.floats(allow_nan=False, allow_infinity=False)}


@given(st.sampled_from(sorted(scalars)).flatmap(lambda kind: st.tuples(st.just(kind), st.lists(scalars[kind]))))
def test_a_default_survives_the_cell_and_the_check(kind_and_items):
    kind, items = kind_and_items
    known = declared(notebook(f"x: list[{kind}] = {items!r}"))
    assert check(known, {}) == {"x": items} == check(known, {"x": items})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_hint_for_a_number_written_as_text_is_that_number_in_yaml(value):
    with pytest.raises(ParameterError) as caught:
        check({"x": Parameter("x", "float", 0.0)}, {"x": repr(value)})
    hint = str(caught.value).rpartition("write ")[2]
    assert float(yaml.safe_load(hint)) == value and not isinstance(yaml.safe_load(hint), str)


@pytest.mark.parametrize(
    ("line", "good", "bad", "problem"),
    [
        ("x: str = 'a'  # one of a, b-c: what is sorted", "b-c", "b", "x must be one of a, b-c, not 'b'."),
        ("x: str = 'cpu'  # one of cpu, cuda, or auto for the best there is", "auto", "gpu", "one of cpu, cuda, auto"),
        ("x: str = 'a'  # what is sorted: one of a or b.", "b", "b.", "one of a, b, not 'b.'"),
        ("x: str = 'notes'  # one of notes, messages", "messages", "message", "Did you mean messages?"),
        ("x: int = 1  # one of 1, 2 or 4", 4, 3, "one of 1, 2, 4, not 3"),
        ("x: list[str] = ['a']  # any of a, b", ["b", "a"], ["a", "c"], "x[1] must be one of a, b, not 'c'"),
        ("x: list[str] = []  # each one of a, b", [], ["c"], "x[0] must be one of a, b"),
        ("x: int = 0  # 0 or more", 0, -1, "x must be at least 0, not -1"),
        ("x: list[int] = [1]  # at least 1 each", [2], [1, 0], "x[1] must be at least 1, not 0"),
        ("x: float = 0.5  # above 0, at most 1.5", 1.5, 0.0, "x must be above 0, not 0.0"),
        ("x: float = 0.5  # above 0, at most 1.5", 0.1, 2, "x must be at most 1.5, not 2"),
        ("x: list[int] = [1]  # samples; at least one", [5], [], "x must not be empty (samples; at least one)"),
        ("x: str = 'any'  # one of the kit's models, or 3 or more others", "b", 3, "must be of type str"),
    ],
)
def test_what_the_help_allows_is_what_is_taken(line, good, bad, problem):
    known = declared(notebook(line))
    assert check(known, {"x": good}) == {"x": good}
    with pytest.raises(ParameterError) as caught:
        check(known, {"x": bad})
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("stem", "name", "allowed"),
    [
        ("03_demo_search", "ways", {*demo_search.SEARCHES, *demo_search.BASELINES, *demo_search.NEAREST}),
        ("05_augmentation", "beside", {*augmentation.BESIDE}),
    ],
)
def test_names_with_spaces_are_those_of_the_studies(stem, name, allowed):
    known = declared(paths.NOTEBOOKS / f"{stem}.ipynb")
    assert {*known[name].choices} == allowed
    assert check(known, {name: sorted(allowed)})[name] == sorted(allowed)
    with pytest.raises(ParameterError, match=rf"{name}\[0\] must be one of .*Did you mean {sorted(allowed)[0]}"):
        check(known, {name: [sorted(allowed)[0] + " x"]})
    other = declared(notebook(f"{name}: list[str] = ['mine']"))  # a notebook of one's own, with names of its own
    assert check(other, {name: ["yours"]}) == {name: ["yours"]}


def test_a_default_that_its_own_help_forbids_is_refused():
    with pytest.raises(ParameterError, match=r"parameters cell, line 1: x must be one of a, b, not 'c'"):
        declared(notebook("x: str = 'c'  # one of a, b"))


@pytest.mark.parametrize(
    ("old", "now"),
    [("style", "prompt_format"), ("clusters", "list_tasks"), ("manners", "style_examples"), ("kinds", "task_clusters")],
)
def test_an_old_name_tells_the_new_one_unless_it_is_still_in_use(old, now):
    known = declared(notebook(f"{now}: int = 0"))
    for refused in (lambda: check(known, {old: 1}), lambda: parse(known, [f"{old}=1"])):
        with pytest.raises(ParameterError, match=f"unknown parameter '{old}'. It is now called {now}."):
            refused()
    assert check(declared(notebook(f"{old}: int = 0")), {old: 1}) == {old: 1}


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    (tmp_path / "profiles").mkdir()
    for name in ("01_data", "02_icl_scaling"):
        nbformat.write(notebook(CELL), tmp_path / f"{name}.ipynb")
    return tmp_path / "profiles"


def test_a_profile_has_a_section_a_notebook(kit):
    (kit / "study.yaml").write_text("02_icl_scaling:\n  shots: [1, 2]\n01_data:\n")
    assert notebooks.profile_names() == ["quick", "study"]
    assert notebooks.load_profile("study") == {"02_icl_scaling": {"shots": [1, 2]}, "01_data": {}}
    assert notebooks.load_profile("quick") == {}


def test_an_unknown_profile_lists_those_that_exist(kit):
    (kit / "study.yaml").write_text("")
    with pytest.raises(notebooks.ProfileNotFound, match=r"'studdy'. Did you mean study\? There are: quick, study."):
        notebooks.load_profile("studdy")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("03_other:\n  seed: 1\n", "no notebook for section '03_other'"),
        ("02_icl_scalin: {}\n", "Did you mean 02_icl_scaling?"),
        ("- 1\n", "one section a notebook, not list"),
        ("01_data: 3\n", "section 01_data: must map parameters"),
        ("01_data:\n  seed: 1\n  seed: 2\n", "profiles/study.yaml, line 3: 'seed' stands twice"),
        ("01_data: [\n", "profiles/study.yaml, line 2"),
        ("01_data: \x00\n", "not readable as YAML"),
    ],
)
def test_a_broken_profile_names_file_and_place(kit, text, problem):
    (kit / "study.yaml").write_text(text)
    with pytest.raises(notebooks.ProfileUnreadable) as caught:
        notebooks.load_profile("study")
    assert problem in str(caught.value) and "profiles/study.yaml" in str(caught.value)


def test_a_notebook_is_found_by_number_stem_and_path(kit):
    path = paths.NOTEBOOKS / "02_icl_scaling.ipynb"
    assert [notebooks.find(name) for name in ("2", "02", "02_icl_scaling", "02_icl_scaling.ipynb", path)] == [path] * 5
    with pytest.raises(notebooks.NotebookNotFound, match=r"'02_icl_scalin'. Did you mean 02_icl_scaling\?.*01_data"):
        notebooks.find("02_icl_scalin")
    with pytest.raises(notebooks.NotebookNotFound, match="There are: 01_data, 02_icl_scaling"):
        notebooks.find("9")
    appendix = shutil.copy(path, path.with_name("A1_appendix.ipynb"))
    assert notebooks.find("A1") == appendix


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": 3}', "\x00", '{"nbformat": 4, "nbformat_minor": 5}'])
def test_a_broken_notebook_is_one_clear_error(kit, text):
    path = paths.NOTEBOOKS / "01_data.ipynb"
    path.write_text(text)
    with pytest.raises(notebooks.NotebookUnreadable, match=r"01_data\.ipynb: not a readable notebook"):
        notebooks.read(path)
