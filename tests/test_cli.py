"""The command line: progress a person can read, one message for a mistake, exit codes for scripts."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adaptlab import paths
from adaptlab.runner import cli, doctor
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
    assert lines[0] == "02_icl_scaling … running" and lines[-2].startswith("02_icl_scaling … finished in ")
    assert lines[-1].startswith("build/executed/quick/02_icl_scaling-") and (kit / lines[-1]).is_file()
    assert second.output.splitlines() == ["02_icl_scaling … unchanged, not run again", lines[-1]]
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
        (["run", "01", "-p", "seed"], "such as -p 'seed=0'"),
        (["run", "01", "-p", "task=note"], "-p task must be one of notes, messages, not 'note'. Did you mean notes?"),
        (["run", "01", "--out", "mine.txt"], "mine.txt: an executed notebook is a file that ends in .ipynb"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(kit, arguments, message):
    write(
        "01_tiny",
        counting(kit),
        parameters="seed: int = 0\nmodel: str = ''\ntask: str = 'notes'  # one of notes, messages",
    )
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


def test_while_a_notebook_runs_a_log_gets_a_line_now_and_then(kit, monkeypatch):
    monkeypatch.setattr(cli, "LOG_INTERVAL", 0.2)
    write("01_tiny", "import time; time.sleep(1)")
    lines = call("run", "01").output.splitlines()
    assert re.fullmatch(r"01_tiny: cell 3 of 3, \d+ s", lines[-3]), lines


@pytest.mark.parametrize(
    ("system", "screen", "expected"),
    [
        ("linux", ":0", "to read it: xdg-open 'a site/index.html'"),
        ("linux", "", "to read it, open in a browser: file://{kit}/a%20site/index.html"),
        ("darwin", "", "to read it: open 'a site/index.html'"),
    ],
)
def test_report_says_how_to_open_its_page(kit, monkeypatch, system, screen, expected):
    monkeypatch.chdir(kit)
    monkeypatch.setattr(cli.sys, "platform", system)
    monkeypatch.setattr(cli.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("DISPLAY", screen)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert cli._how_to_open(kit / "a site" / "index.html") == expected.format(kit=kit)


def test_report_ends_with_how_to_open_it(kit, monkeypatch):
    monkeypatch.chdir(kit)
    monkeypatch.setattr(cli, "_write_playground", lambda out: out.write_text("a page"))
    write("01_tiny", "1")
    result = call("report", "--out", "site")
    assert result.exit_code == 0 and "site/index.html" in result.output.splitlines()[-1]
    assert 'href="playground.html"' in (kit / "site" / "index.html").read_text()


def in_a_process(*arguments: str, **options) -> subprocess.Popen:
    command = [sys.executable, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, start_new_session=True, **pipes, **options)


def test_help_and_version_need_nothing_that_takes_long_to_import():
    code = "import sys; from adaptlab.__main__ import main; sys.argv[1:] = [{!r}]\n"
    code += "try: main()\nfinally: print(*sys.modules)"
    for argument, expected in (("--help", "adaptlab run 02 -p items=8"), ("--version", "adaptlab 0.")):
        output, errors = in_a_process("-c", code.format(argument)).communicate()
        assert expected in output and "``" not in output and not errors
        slow = {"torch", "transformers", "papermill", "nbconvert", "nbformat", "jsonschema", "bs4", "numpy"}
        assert slow & {*output.split()} == set()
    assert "run" in in_a_process("-m", "adaptlab", "--help").communicate()[0]


def test_a_run_never_imports_torch(kit):
    write("01_tiny", "1", parameters="model: str = 'study'")
    code = (
        "import sys, tiny; from pathlib import Path; from adaptlab.runner import execute\n"
        "tiny.use(Path(sys.argv[1])); execute.run('01'); print('torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    assert in_a_process("-c", code, str(kit), env=environment).communicate()[0] == "False\n"


def test_stopped_by_ctrl_c_it_says_one_line_and_leaves_nothing(kit):
    out = kit / "o" / "x.ipynb"
    path = write("01_tiny", f"open({str(kit / 'begun')!r}, 'w').close()", "import time; time.sleep(60)")
    child = in_a_process("-m", "adaptlab", "run", str(path), "--out", str(out))
    while not (kit / "begun").exists():
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert (child.returncode, errors) == (130, "adaptlab: stopped; nothing was written\n")
    assert [path.name for path in out.parent.iterdir()] == [".x.lock"]


def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path):
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    child = in_a_process("-m", "adaptlab", "--help", env=environment)
    assert (child.communicate()[1], child.returncode) == ("adaptlab: stopped; nothing was written\n", 130)


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


def test_doctor_says_for_a_workshop_what_a_machine_lacks(kit, monkeypatch):
    def nothing():
        raise doctor.webbrowser.Error

    write("01_tiny", "1")
    monkeypatch.setattr(doctor.webbrowser, "get", nothing)
    monkeypatch.setattr(doctor, "free_memory", lambda: 2**31)
    monkeypatch.setattr(doctor.folders, "embedded", lambda: ["study"])
    monkeypatch.setattr(doctor, "RESULTS", 2**60)
    plain, workshop = call("doctor"), call("doctor", "--workshop")
    assert plain.exit_code == 0 and workshop.exit_code == 1 and "browser" not in plain.output
    lines = workshop.output.splitlines()[len(plain.output.splitlines()) :]
    wanted = ["ok .*jupyterlab 4.* -> the same on", "missing model study-b: .* -> install", "missing model study-it"]
    wanted += ["missing model study-n", "missing model study-s", "note .*no report to fall back on +-> adaptlab report"]
    wanted += ["note .*two notebooks .* 2.0 GiB are free +-> close", "note .*no browser.* -> install one"]
    wanted += ["note .* free where results go +-> free some"]
    assert len(lines) == len(wanted) and all(map(re.match, wanted, lines)), lines


def test_doctor_finds_a_machine_ready_for_a_workshop(kit, monkeypatch):
    write("01_tiny", "1")
    (paths.BUILD / "report").mkdir(parents=True)
    (paths.BUILD / "report" / "index.html").touch()
    monkeypatch.setattr(doctor.webbrowser, "get", object)
    monkeypatch.setattr(doctor, "free_memory", lambda: 2**34)
    monkeypatch.setattr(doctor.folders, "embedded", lambda: list(doctor.NAMED))
    lines = call("doctor", "--workshop").output.splitlines()[-6:]
    assert all(line.startswith("ok ") for line in lines), lines
    assert f"models {', '.join(doctor.NAMED)}: ready" in lines[1] and "a browser: the default one" in lines[4]


def test_a_workshop_reckons_with_the_memory_and_the_models_that_notebooks_name():
    sources = "".join(path.read_text() for path in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
    said = re.findall(r"([\d.]+) GB of memory", sources)
    assert max(map(float, said)) * 1024**3 == doctor.KERNEL
    assert {*re.findall(r'"(study\S*?)\\"  #', sources)} == {*doctor.NAMED}


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
