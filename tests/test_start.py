"""Notebook 00: its map has every notebook, its glossary the words that the others use."""

import re

import matplotlib.pyplot as plt
import nbformat

from adaptlab import paths
from adaptlab.runner import notebooks
from adaptlab.runner.cli import app
from adaptlab.studies import start

START = paths.NOTEBOOKS / "00_start_here.ipynb"


def test_the_map_has_every_notebook_once_with_its_question():
    figure = start.notebook_map()
    texts = [text.get_text() for text in figure.axes[0].texts]
    plt.close(figure)
    for path in notebooks.available():
        number = path.stem.split("_")[0]
        (box,) = [text for text in texts if text.split("\n")[0] == number]
        assert box.split("\n", 1)[1].replace("\n", " ") == notebooks.question(notebooks.read(path))
    assert len(texts) == len(notebooks.available()) + len({text for text in texts if text in start.COLUMNS})


def glossary() -> set[str]:
    words = "\n".join(c.source for c in nbformat.read(START, as_version=4).cells if "## Words" in c.source)
    rows = re.findall(r"^\| ([^|]+) \|", words, re.MULTILINE)[2:]
    return {word.strip() for row in rows for word in row.split(",")}


def test_the_glossary_explains_words_that_notebooks_use_and_those_that_stand_in_their_figures():
    prose = " ".join(
        c.source.lower()
        for path in notebooks.available()
        if path != START
        for c in nbformat.read(path, as_version=4).cells
    )
    known = glossary()
    assert [word for word in known if word.lower().rstrip("s") not in prose] == []
    wanted = {"shots", "seed", "interval", "control", "oracle", "LoRA", "token", "loss", "distillation", "best of n"}
    assert wanted <= known


def test_the_plans_for_teaching_name_notebooks_that_there_are_and_leave_none_out():
    text = (paths.NOTEBOOKS / "README.md").read_text()
    named = set(re.findall(r"\]\((\w+\.ipynb)\)", text))
    assert named == {path.name for path in notebooks.available()}
    for command in re.findall(r"`adaptlab (\w+)", text):
        assert command in {one.name or one.callback.__name__ for one in app.registered_commands}
