"""Student copies: solutions and outputs are gone, exercises are left, and nothing depends on what is gone."""

import ast

import nbformat
import pytest
from typer.testing import CliRunner

from adaptlab.runner import notebooks, student
from adaptlab.runner.cli import app
from adaptlab.runner.provenance import OutputRefused

SOURCES = notebooks.available()


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class") / "mine"
    result = CliRunner().invoke(app, ["student", str(folder)])
    assert result.exit_code == 0 and result.output.strip() == f"{folder}: {len(SOURCES)} notebooks"
    assert {path.name for path in folder.iterdir()} == {path.name for path in SOURCES}
    return folder


def code(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def tags(cell):
    return {*cell.metadata.get("tags", [])}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_copy_holds_everything_but_solutions_and_outputs(copies, source):
    original, copy = nbformat.read(source, as_version=4), nbformat.read(copies / source.name, as_version=4)
    nbformat.validate(copy)
    kept = [cell.source for cell in original.cells if "solution" not in tags(cell)]
    assert [cell.source for cell in copy.cells] == kept and len(kept) < len(original.cells)
    assert any("exercise" in tags(cell) for cell in copy.cells)
    assert all(not cell.outputs and cell.execution_count is None for cell in code(copies / source.name))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_cell_needs_what_only_a_solution_defines(source):
    defined, needed = set(), {}
    for cell in code(source):
        names = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)]
        stored = {one.id for one in names if isinstance(one.ctx, ast.Store)}
        if "solution" in tags(cell):
            needed |= dict.fromkeys(stored - defined)
        else:
            defined |= stored
            assert not {one.id for one in names if isinstance(one.ctx, ast.Load)} & set(needed) - stored, cell.source


def test_somebodys_answers_are_not_overwritten(tmp_path):
    (tmp_path / "02_icl_scaling.ipynb").write_text("answers")
    with pytest.raises(OutputRefused, match="is there already, and may hold somebody's answers; name a new folder"):
        student.write(tmp_path)
    result = CliRunner().invoke(app, ["student", str(tmp_path)])
    assert result.exit_code == 2 and "name a new folder" in result.output
    assert (tmp_path / "02_icl_scaling.ipynb").read_text() == "answers"


def test_a_copy_that_is_killed_half_way_leaves_nothing(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(student, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        student.write(tmp_path / "mine")
    assert not list(tmp_path.iterdir())
