"""Cheap gates over every notebook and profile: what nbval does not look at, or would pass in silence."""

import ast
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbval.plugin import get_sanitize_patterns

from adaptlab.evidence.ledger import load_ledger
from adaptlab.runner import notebooks
from adaptlab.runner.parameters import check, declared

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
READERS = {"bets", "exercise", "solution"}  # tags of cells that are the reader's, beside the notebook's own line


def cells(path: Path, kind: str) -> list:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def own(path: Path) -> list:
    return [c for c in cells(path, "code") if not READERS & set(tags(c))]


def test_there_are_notebooks():
    assert NOTEBOOKS


@EACH
def test_it_is_a_valid_notebook_with_unique_cell_ids(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    ids = [c["id"] for c in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}, "run records and widget state stay outside"


@EACH
def test_it_was_executed_in_order_without_errors(path):
    """nbval compares nothing in a cell without a count, and says nothing about it."""
    code = cells(path, "code")
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1)), "execute it: make notebooks"
    assert not [o for c in code for o in c.outputs if o.output_type == "error"]
    assert not [o for c in code for o in c.outputs if o.get("name") == "stderr"], "mend warnings at their source"


@EACH
def test_it_reads_like_the_others(path):
    code, text = own(path), cells(path, "markdown")
    first = nbformat.read(path, as_version=4).cells[0]
    assert re.match(r"# .+\?\n", first.source), "the title is a question"
    lengths = [len([line for line in c.source.split("\n") if line.strip()]) for c in code]
    assert 15 <= len(code) <= 40 and len(text) >= len(code)
    assert statistics.median(lengths) <= 6 and max(lengths) <= 20 and min(lengths) > 0
    assert 1200 <= sum(len(c.source.split()) for c in text) <= 2500
    assert all(c.source.count("\n") < 20 for c in cells(path, "code"))
    defined = [n for c in cells(path, "code") for n in ast.walk(ast.parse(c.source)) if isinstance(n, ast.FunctionDef)]
    assert len(defined) <= 5, "what is not the experiment itself belongs in the library"
    for heading in ("You will learn", "Exercises", "We have seen", "Limits", "Provenance"):
        assert any(heading in c.source for c in text), heading


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem[0] == "0"], ids=lambda p: p.stem)
def test_the_experiment_and_its_idea_are_on_the_page(path):
    """Every experiment is a grid over a function of the notebook; its idea is written once by hand, and compared."""
    source = "\n".join(c.source for c in cells(path, "code"))
    tree = ast.parse(source)
    grids = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "al.grid"]
    defined = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    made = {ast.unparse(call.args[0]) for call in grids}
    assert grids and made & defined, "no grid over a function that the notebook defines"
    assert re.search(r"^### By hand|By hand", "\n".join(c.source for c in cells(path, "markdown")), re.M)
    assert "assert " in source, "what was written by hand is compared with the library"


def test_the_library_has_no_loop_over_experiments_but_grid():
    """A method evaluated in a loop is an experiment; `evaluate` is called by `grid`, and once to grade an exam."""
    callers = []
    for path in (ROOT / "lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(n, ast.Call) and ast.unparse(n.func) in ("evaluate", "evaluate_turns", "token_shift")
                for loop in ast.walk(node)
                if isinstance(loop, ast.For | ast.comprehension | ast.While)
                for n in ast.walk(loop)
            ):
                callers.append(f"{path.stem}.{node.name}")
    assert callers in ([], ["evaluate.grid"])


@EACH
def test_little_is_left_out_of_the_comparison(path):
    code = own(path)
    skipped = [c for c in code if {"nbval-ignore-output", "nbval-skip"} & set(tags(c))]
    assert len(skipped) <= 0.2 * len(code)
    for cell in cells(path, "code"):
        assert "NBVAL" not in cell.source, "use tags: a marker with text behind it is ignored in silence"
        assert not cell.source.rstrip().endswith(";")


@EACH
def test_as_slides_each_section_and_each_figure_begins_one(path):
    """Without slide types nbconvert puts the whole notebook on one slide."""
    types = dict.fromkeys((None, "slide", "subslide", "skip"), 0)
    for cell in nbformat.read(path, as_version=4).cells:
        found = cell.metadata.get("slideshow", {}).get("slide_type")
        types[found] += 1  # KeyError: no such type of slide is used here
        if cell.cell_type == "markdown":
            heading = re.search(r"^(#+) ", cell.source, re.M)
            assert found == (None if not heading else "slide" if len(heading[1]) < 3 else "subslide"), cell.source
        elif {"parameters", "solution"} & set(tags(cell)):
            assert found == "skip"
        elif any("image/png" in output.get("data", {}) for output in cell.outputs):
            assert found == "subslide", cell.source
    assert types["slide"] >= 8 and types["subslide"] >= 3 and types["skip"] >= 4


@EACH
def test_it_is_small_and_names_no_machine(path):
    assert path.stat().st_size <= 300 * 1024
    source = path.read_text()
    assert not re.search(r"/(home|root|Users|tmp|work)/", source)
    assert "$" not in "".join(c.source for c in cells(path, "markdown")), "the report shows no formulas"


@EACH
def test_its_claims_stand_in_the_ledger(path):
    ledger = load_ledger()
    named = set(re.findall(r'"([A-Z]+-[A-Z0-9-]+)"', path.read_text().replace("\\", "")))
    assert named <= set(ledger) | {"UTF-8"}
    assert {c.id for c in ledger.values() if c.notebook == path.stem.split("_")[0]} <= named, (
        "a claim that no notebook tests"
    )


@EACH
@pytest.mark.parametrize("profile", notebooks.profile_names())
def test_every_profile_fits_its_parameters(path, profile):
    check(declared(path), notebooks.load_profile(profile).get(path.stem, {}))


def test_profiles_are_spelt_so_that_yaml_reads_numbers():
    """YAML 1.1 reads 1e-3 as text."""
    for path in (FOLDER / "profiles").glob("*.yaml"):
        assert not re.search(r":\s*\d+e", path.read_text()), path
        assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_every_sanitize_rule_is_read():
    text = (FOLDER / "sanitize.cfg").read_text()
    assert len(get_sanitize_patterns(text)) == text.count("regex:")


def test_nbval_notices_a_changed_verdict(tmp_path):
    """A canary for the whole comparison, on the real outputs, without running a model again.

    Every code cell is replaced by one that displays its stored outputs, so that the untouched copy passes; then one
    verdict is altered, and it must not.
    """
    notebook = nbformat.read(FOLDER / "02_icl_scaling.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = [o.data for o in cell.outputs if o.output_type in {"display_data", "execute_result"}]
            cell.outputs = [o for o in cell.outputs if o.output_type == "execute_result"]
            cell.source = (
                f"class Stored:\n    def _repr_mimebundle_(self, **_):\n        return {dict(shown[-1])!r}\n\nStored()"
                if cell.outputs
                else "pass"
            )
    copy = tmp_path / "copy.ipynb"
    shutil.copy(FOLDER / "conftest.py", tmp_path)
    nbformat.write(notebook, copy)
    assert nbval(copy).returncode == 0, nbval(copy).stdout
    before = copy.read_text()
    verdict = next(word for word in ("not resolved", "holds here", "opposite here") if f"{word} " in before)
    other = "opposite here" if verdict != "opposite here" else "holds here"
    stored = nbformat.read(copy, as_version=4)
    for cell in stored.cells:
        for output in cell.get("outputs", []):
            if "ICL-SHOTS" in output.get("data", {}).get("text/plain", "") and verdict in output.data["text/plain"]:
                output.data["text/plain"] = output.data["text/plain"].replace(verdict, other, 1)
    nbformat.write(stored, copy)
    assert copy.read_text() != before
    assert nbval(copy).returncode == 1


def nbval(path: Path) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval",
        "--nbval-current-env",
        str(path),
    ]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
