"""The command line: progress a person can read, one message for a mistake, exit codes for scripts."""

import pytest
from typer.testing import CliRunner

from adaptlab import paths
from adaptlab.runner import doctor
from adaptlab.runner.cli import app
from tiny import counting, marks, use, write


@pytest.fixture
def kit(tmp_path, monkeypatch):
    return use(tmp_path, monkeypatch.setattr)


def call(*arguments: str):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_run_tells_what_happens_and_does_not_repeat_it(kit, monkeypatch):
    monkeypatch.chdir(kit)
    write("02_icl_scaling", counting(kit))
    first, second = call("run", "02", "-p", "seed=3"), call("run", "02", "-p", "seed=3")
    assert first.exit_code == second.exit_code == 0 and marks(kit) == 1
    lines = first.output.splitlines()
    assert lines[0] == "02_icl_scaling … running" and lines[1].startswith("02_icl_scaling … finished in ")
    assert lines[2].startswith("build/executed/quick/02_icl_scaling-") and (kit / lines[2]).is_file()
    assert second.output.splitlines() == ["02_icl_scaling … unchanged, not run again", lines[2]]
    assert call("run", "02", "-p", "seed=3", "--force").exit_code == 0 and marks(kit) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "9"], "adaptlab: no notebook is called '9'. There are: 01_tiny."),
        (["run", "01", "-p", "sed=1"], "Did you mean seed?"),
        (["run", "01", "-p", "seed=x"], "adaptlab: -p seed must be of type int, not 'x'"),
        (["run", "01", "--profile", "quik"], "Did you mean quick? There are: quick."),
        (["report", "--profile", "quik"], "Did you mean quick?"),
        (["run", "01", "-p", "model=nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(kit, arguments, message):
    write("01_tiny", counting(kit), parameters="seed: int = 0\nmodel: str = ''")
    result = call(*arguments)
    assert result.exit_code == 2 and message in result.output
    assert "Traceback" not in result.output and not (kit / "marks").exists()


def test_a_failed_notebook_is_exit_code_1(kit):
    write("01_tiny", "1 / 0")
    for command in (["run", "01"], ["report"]):
        result = call(*command)
        assert result.exit_code == 1 and "01_tiny.ipynb, cell 3 of 3: ZeroDivisionError" in result.output
        assert "Traceback" not in result.output


def test_a_file_in_the_way_is_a_message(kit):
    write("01_tiny", "1")
    (kit / "file").write_text("")
    result = call("run", "01", "--out", kit / "file" / "x.ipynb")
    assert result.exit_code == 1 and "adaptlab: " in result.output and "file" in result.output


def test_a_defect_of_the_kit_is_not_hidden(kit, monkeypatch):
    monkeypatch.setattr("adaptlab.runner.notebooks.find", lambda name: [][0])
    assert isinstance(call("run", "01").exception, IndexError)


def test_report_names_its_page(kit, monkeypatch):
    monkeypatch.chdir(kit)
    write("01_tiny", "1")
    result = call("report", "--out", "site")
    assert result.exit_code == 0 and result.output.splitlines()[-1] == "site/index.html"
    assert (kit / "site" / "index.html").is_file()


def test_list_shows_notebooks_parameters_profiles_and_models(kit):
    write("01_tiny", "1")
    output = call("list").output
    assert "01_tiny: What does 01_tiny ask?" in output and "seed: int = 0  (the seed)" in output
    assert "profiles: quick" in output and "smollm2-135m-instruct" in output


def test_doctor_says_ok_where_all_is_there(kit):
    write("01_tiny", "1")
    result = call("doctor")
    assert result.exit_code == 0, result.output
    for word in ("python 3", "torch 2", "threads", "memory", "free where the cache is", "cache ", "model "):
        assert word in result.output


def test_doctor_fails_and_says_what_to_do_where_something_is_missing(kit, monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy>=999", "no-such-thing>=1", "x; extra == 'y'"])
    result = call("doctor")
    assert result.exit_code == 1
    assert 'pip install "numpy>=999"' in result.output and "no-such-thing absent, wanted >=1" in result.output
    assert "x absent" not in result.output and "missing no notebooks" in result.output


def test_doctor_names_a_broken_profile(kit):
    write("01_tiny", "1")
    (paths.NOTEBOOKS / "profiles").mkdir()
    (paths.NOTEBOOKS / "profiles" / "real.yaml").write_text("- 1\n")
    result = call("doctor")
    assert result.exit_code == 1 and "profiles/real.yaml: must have one section a notebook" in result.output
