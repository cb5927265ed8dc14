"""Running one notebook: checked before, whole or absent after, and not run again for nothing."""

import contextlib
import json
import multiprocessing
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from adaptlab import paths
from adaptlab.engine import folders
from adaptlab.runner import execute, kernel, provenance
from adaptlab.runner.execute import NotebookFailed, OutputRefused, run
from tiny import counting, marks, use, write

SECRET = "hunter2-value-nobody-may-see"


@pytest.fixture
def kit(tmp_path, monkeypatch):
    use(tmp_path, monkeypatch.setattr)
    (paths.PACKAGE / "code.py").write_text("x = 1\n")
    (paths.DATA / "items.jsonl").write_text('{"id": 1}\n')
    return tmp_path


def outputs(path: Path) -> str:
    node = nbformat.read(path, as_version=4)
    return "".join(out.get("text", "") for cell in node.cells for out in cell.get("outputs", []))


def test_a_run_is_recorded_and_repeated_only_when_something_changed(kit):
    path = write("01_tiny", counting(kit))
    first = run("1")
    assert (first.cached, marks(kit), outputs(first.path)) == (False, 1, "seed 0\n")
    assert first.path == paths.BUILD / "executed" / "quick" / "01_tiny.ipynb"

    again = run("01_tiny")
    assert again.cached and marks(kit) == 1
    assert again == provenance.replace(first, cached=True)

    changes = [
        lambda: (paths.DATA / "items.jsonl").write_text('{"id": 2}\n'),
        lambda: (paths.PACKAGE / "code.py").write_text("x = 2\n"),
        lambda: write("01_tiny", counting(kit) + "\n"),
        lambda: edit(first.path),
        lambda: first.path.with_name("01_tiny.run.json").unlink(),  # killed between notebook and record
    ]
    for n, change in enumerate(changes, start=2):
        change()
        assert not run(path).cached and marks(kit) == n
    (paths.DATA / "README.md").write_text("explains")
    (paths.DATA / "results").mkdir()
    (paths.DATA / "results" / "study-study.yaml").write_text("published: since\n")
    assert run(path).cached
    assert not run(path, force=True).cached


def test_a_changed_parameter_runs_beside_the_profile_not_over_it(kit):
    write("01_tiny", counting(kit))
    plain, changed = run("01"), run("01", parameters={"seed": 7})
    assert changed.path != plain.path and changed.path.parent == plain.path.parent
    assert (outputs(plain.path), outputs(changed.path)) == ("seed 0\n", "seed 7\n")
    assert changed.parameters == {"seed": 7} and changed.seeds == {"seed": 7}
    assert run("01", parameters={"seed": 7}).cached and run("01").cached


def test_a_profile_gives_the_parameters(kit):
    write("01_tiny", "print(seed, lr)", parameters="seed: int = 0\nlr: float = 0.1")
    (paths.NOTEBOOKS / "profiles").mkdir()
    (paths.NOTEBOOKS / "profiles" / "study.yaml").write_text("01_tiny:\n  seed: 3\n")
    record = run("01", profile="study", parameters={"lr": 1})
    assert outputs(record.path) == "3 1.0\n"


def test_two_runs_of_the_same_content_are_the_same_bytes(kit):
    path = write("01_tiny", "print(seed)")
    one, two = (run(path, parameters={"seed": 1}, out=kit / f"{i}.ipynb") for i in "ab")
    assert one.path.read_bytes() == two.path.read_bytes()
    assert "papermill" not in json.loads(one.path.read_text())["metadata"]


def test_the_record_names_what_matters_and_no_place_or_person(kit):
    record = run(write("01_tiny", "1"))
    text = record.path.with_name("01_tiny.run.json").read_text()
    facts = json.loads(text)
    assert facts["notebook"] == "01_tiny" and facts["parameters"] == {"seed": 0} and facts["exit"] == "finished"
    assert facts["versions"]["torch"] and facts["machine"]["threads"] >= 1 and len(facts["key"]) == 64
    assert str(kit) not in text and str(Path.home()) + "/" not in text


def test_a_failing_cell_leaves_no_final_file_and_says_where(kit):
    write("01_tiny", "before = 1", "wrong = 1\nraise KeyError('nothing here')")
    with pytest.raises(NotebookFailed) as caught:
        run("01", parameters={"seed": 1}, out=kit / "o" / "x.ipynb")
    message = str(caught.value)
    assert "01_tiny.ipynb, cell 4 of 4: KeyError: 'nothing here'" in message and "wrong = 1" in message
    assert visible(kit / "o") == ["x.failed.ipynb"]

    write("01_tiny", "before = 1")
    run("01", out=kit / "o" / "x.ipynb")
    assert visible(kit / "o") == ["x.ipynb", "x.run.json"]


def visible(folder: Path) -> list[str]:
    """The files of a folder; only the empty lock may be hidden."""
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not name.endswith(".lock")]


@pytest.mark.parametrize(
    ("cell", "timeout", "reason"),
    [("import os; os.kill(os.getpid(), 9)", 60, "kernel died"), ("import time; time.sleep(60)", 2, "time limit")],
)
def test_a_dead_kernel_or_an_endless_cell_is_one_clear_error(kit, cell, timeout, reason):
    write("01_tiny", cell)
    with pytest.raises(NotebookFailed, match=rf"01_tiny\.ipynb, cell 3 of 3: .*{reason}"):
        run("01", timeout=timeout, out=kit / "o" / "x.ipynb")
    assert visible(kit / "o") == ["x.failed.ipynb"]


def test_partials_of_dead_attempts_are_swept_and_those_of_neighbours_are_not(kit):
    write("01_tiny", "1")
    out = kit / "o"
    out.mkdir()
    rows = ("..x.0123abcd.partial.csv.4567cdef.partial", ".x.0123abcd.partial.csv", ".x.frame.csv.0123abcd.partial")
    for name in (".x.0123abcd.partial.ipynb", ".x.run.json.0123abcd.partial", *rows, ".x.y.0123abcd.partial.ipynb"):
        (out / name).write_text("{")
    run("01", out=out / "x.ipynb")
    assert visible(out) == [".x.y.0123abcd.partial.ipynb", "x.ipynb", "x.run.json"]


def test_braces_in_a_path_are_only_braces(kit):
    record = run(write("01_tiny", "1"), out=kit / "{seed}" / "a{b}.ipynb")
    assert record.path.is_file()


@pytest.mark.parametrize("temporary", ["t", "t" * 90])
def test_a_run_leaves_nothing_beside_the_notebook(kit, monkeypatch, temporary):
    (kit / temporary).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(kit / temporary) if len(temporary) > 1 else None)
    write("01_tiny", "import os\nprint(os.listdir())")
    assert outputs(run("01").path) == "['01_tiny.ipynb']\n"
    assert list((kit / temporary).iterdir()) == []


def test_a_secret_in_the_environment_reaches_no_file(kit, monkeypatch):
    monkeypatch.setenv("ADAPTLAB_JUDGE_TOKEN", SECRET)
    write("01_tiny", "import os\nos.environ['ADAPTLAB_JUDGE_TOKEN']", "print(dict(os.environ))")
    write("02_fails", "import os\nraise ValueError(os.environ['ADAPTLAB_JUDGE_TOKEN'])")
    run("01")
    with pytest.raises(NotebookFailed) as caught:
        run("02")
    assert SECRET not in str(caught.value) and "[ADAPTLAB_JUDGE_TOKEN]" in str(caught.value)
    written = [path.read_text() for path in paths.BUILD.rglob("*") if path.is_file()]
    assert len(written) >= 3 and not any(SECRET in text for text in written)
    assert any("[ADAPTLAB_JUDGE_TOKEN]" in text for text in written)


def test_the_kernel_is_offline_unless_the_user_named_a_hub_model(kit, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with kernel.environment("study"):
        assert os.environ["HF_HUB_OFFLINE"] == "1"
    with kernel.environment("org/name"):
        assert "HF_HUB_OFFLINE" not in os.environ
    assert "HF_HUB_OFFLINE" not in os.environ


def test_the_model_is_made_ready_and_its_digest_is_part_of_the_content(kit, monkeypatch):
    prepared, digests = [], iter(["aaa", "aaa", "bbb"])
    monkeypatch.setattr(folders, "prepare", prepared.append)
    monkeypatch.setattr(folders, "digest", lambda name: next(digests))
    write("01_tiny", "print(model)", parameters="model: str = 'study'")
    assert [run("01").cached for _ in range(3)] == [False, True, False]
    assert prepared == ["study"] * 3


def _run_in_child(folder: Path, out: Path, said) -> None:
    use(folder)
    said.put(run("01", out=out).cached)


def test_two_processes_do_not_run_the_same_output_at_once(kit):
    write("01_tiny", counting(kit), "import time; time.sleep(1)")
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    children = [context.Process(target=_run_in_child, args=(kit, kit / "x.ipynb", said)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert sorted(said.get(timeout=5) for _ in children) == [False, True] and marks(kit) == 1


def other() -> Path:
    return write("02_other", "1")


# What stands in the way, where the output was to go, and what is said about it.
FOREIGN = [
    (lambda kit: (kit / "claims.yaml").write_text("- id: X\n"), "claims.yaml", "name it .*/claims.ipynb"),
    (
        lambda kit: other(),
        "notebooks/02_other.ipynb",
        "no 02_other.run.json says that the kit wrote it; name another place, or move it away",
    ),
    (lambda kit: (kit / "link.ipynb").symlink_to(other()), "link.ipynb", "no 02_other.run.json says"),
    (lambda kit: (kit / "folder").mkdir(), "folder", "name it .*folder/01_tiny.ipynb"),
    (lambda kit: (kit / "x.ipynb").mkdir(), "x.ipynb", "no x.run.json says"),
    (lambda kit: run(other(), out=kit / "x.ipynb"), "x.ipynb", "holds a run of 02_other, not of 01_tiny"),
    (lambda kit: edit(run("01", out=kit / "x.ipynb").path), "x.ipynb", "was changed since the kit wrote it"),
    (
        lambda kit: (kit / "x.run.json").write_text('{"laps": 3}'),
        "x.ipynb",
        "x.run.json: is there, and is no run record",
    ),
    (lambda kit: shutil.copy(other(), kit / "x.failed.ipynb"), "x.ipynb", "x.failed.ipynb: is there"),
    (lambda kit: None, "/dev/null", "name it /dev/null.ipynb"),
    (lambda kit: None, "notebooks/01_tiny.ipynb", "must not be the notebook itself"),
]


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


@pytest.mark.parametrize(("prepare", "place", "message"), FOREIGN)
def test_an_output_never_replaces_what_the_kit_did_not_write(kit, prepare, place, message):
    write("01_tiny", counting(kit))
    prepare(kit)
    before = contents(kit)
    with pytest.raises(OutputRefused, match=message):
        run("01", out=kit / place, parameters={"seed": 1})
    assert contents(kit) == before  # the marks of executions among them


def contents(folder: Path) -> dict[Path, bytes]:
    """Every visible file of a folder with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("[!.]*") if path.is_file()}


def test_an_output_of_the_same_notebook_is_replaced_also_after_a_failure_or_a_kill(kit, monkeypatch):
    write("01_tiny", counting(kit))
    first = run("01", out=kit / "x.ipynb")
    with monkeypatch.context() as patched:
        patched.setattr(execute, "write_text", lambda path, text: 1 / 0)  # killed between the record and the notebook
        with pytest.raises(ZeroDivisionError):
            run("01", out=kit / "x.ipynb", parameters={"seed": 1})
    assert first.path.is_file()
    assert outputs(run("01", out=kit / "x.ipynb", parameters={"seed": 1}).path) == "seed 1\n"
    for code in ("1 / 0", "1 / 0", "3"):
        write("01_tiny", code)
        with contextlib.suppress(NotebookFailed):
            run("01", out=kit / "x.ipynb")
    assert visible(kit)[-2:] == ["x.ipynb", "x.run.json"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no file, even from root")
def test_where_nothing_can_be_written_nobody_waits(kit):
    write("01_tiny", counting(kit))
    with pytest.raises(OSError, match=r"/proc: nothing can be written there .*name another place"):
        run("01", out=Path("/proc/x.ipynb"))
    assert not (kit / "marks").exists()


def test_progress_counts_the_notebooks_own_cells_and_knows_the_time_left_from_the_last_run(kit):
    lines = []

    @contextlib.contextmanager
    def watch(progress):
        begin = progress.begin
        progress.begin = lambda **hook: (begin(**hook), lines.append(str(progress)))
        yield

    write("01_tiny", "import time; time.sleep(seed)", "1")
    first = run("01", parameters={"seed": 2}, watch=watch)
    assert [line.partition(",")[0] for line in lines] == [f"cell {n} of 4" for n in (1, 2, 2, 3, 4)]
    assert not any("left" in line for line in lines)

    lines.clear()
    assert run("01", parameters={"seed": 2}, watch=watch).cached and lines == []
    run("01", parameters={"seed": 1}, watch=watch)
    assert not any("left" in line for line in lines)  # with this parameter it has not been run
    lines.clear()
    run("01", parameters={"seed": 2}, watch=watch, force=True)
    left = [int(re.search(r"about (\d+) s left", line)[1]) for line in lines]
    assert left[0] <= first.seconds and left == sorted(left, reverse=True)


def test_the_time_left_is_never_negative(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(kernel.time, "monotonic", lambda: now[0])
    progress = kernel.Progress("n", 3, 180.0)
    for now[0], text in ((3, "3 s, about 2 min 57 s left"), (303, "5 min 3 s, about 1 s left")):
        assert str(progress) == f"starting, {text}"


def test_a_packaged_model_is_left_to_the_kernel_to_convert(kit, monkeypatch):
    told = []
    monkeypatch.setattr(folders, "PACKAGED", {"weights": SimpleNamespace(installed=True, ready=False, sha256="abc")})
    write("01_tiny", "1", parameters="model: str = 'weights'")
    assert run("01", say=told.append).model_digest == "abc"
    assert told == ["converting weights, once: about a minute", "running"]


def test_an_unknown_model_is_refused_before_a_kernel_starts(kit):
    write("01_tiny", counting(kit), parameters="model: str = ''\nseed: int = 0")
    with pytest.raises(folders.ModelNotFound, match=r"'smollm2-135m-instrukt' is neither .* Did you mean smollm2-135m"):
        run("01", parameters={"model": "smollm2-135m-instrukt"})
    assert not (kit / "marks").exists()


def test_records_carry_the_type_that_evidence_gives_them():
    from adaptlab.evidence.record import RECORD_MIME

    assert provenance.RECORD_MIME == RECORD_MIME
