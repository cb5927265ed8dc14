"""Places that are full, cannot be locked, or have odd names; runs that are stopped; memory that runs out.

Each ends in one sentence that names the place and what to do, and leaves nothing behind.
"""

import errno
import fcntl
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
import torch
from safetensors.torch import save_file

from adaptlab import files, paths
from adaptlab.engine import checkpoints, packaged
from adaptlab.files import locked, whole_file, whole_folder, write_text
from adaptlab.runner import execute, kernel, notebooks, provenance, report, results
from tiny import counting, use, write

LARGE = "x" * 100_000
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def kit(tmp_path, monkeypatch):
    return use(tmp_path, monkeypatch.setattr)


@pytest.fixture(params=["no longer file", "full disk"])
def full(request, tmp_path):
    """A folder in which 100,000 characters find no room."""
    place = tmp_path / "full"
    place.mkdir()
    if request.param == "full disk":
        mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(place)]
        if not sys.platform.startswith("linux") or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("only root may make a small disk")
        yield place
        subprocess.run(["umount", "-l", str(place)], check=True)
    else:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
        yield place
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def fill_text(place: Path) -> None:
    write_text(place / "a.txt", LARGE)


def fill_bytes(place: Path) -> None:
    with whole_file(place / "a.bin") as new:
        new.write_bytes(LARGE.encode())


def fill_weights(place: Path) -> None:
    with whole_file(place / "a.safetensors") as new:
        save_file({"a": torch.zeros(100_000)}, new)


def fill_folder(place: Path) -> None:
    with whole_folder(place / "a.folder") as new:
        (new / "b").write_text(LARGE)


def fill_folder_with_weights(place: Path) -> None:
    with whole_folder(place / "a.folder") as new:
        save_file({"a": torch.zeros(100_000)}, new / "b.safetensors")


@pytest.mark.parametrize("fill", [fill_text, fill_bytes, fill_weights, fill_folder, fill_folder_with_weights])
def test_a_full_disk_is_one_sentence_with_the_place_and_leaves_nothing(full, fill):
    with pytest.raises(OSError, match=rf"^{full}/a\.\w+ could not be written \([\w ]+\): make room there, or name"):
        fill(full)
    assert os.listdir(full) == []


def test_a_full_disk_keeps_what_was_there(full):
    write_text(full / "a.txt", "old")
    with pytest.raises(OSError, match="make room there"):
        fill_text(full)
    assert (full / "a.txt").read_text() == "old" and os.listdir(full) == ["a.txt"]


def test_a_notebook_that_finds_no_room_says_so(kit, full):
    write("01_tiny", f"print({'x' * 10!r} * 10_000)", "1")
    with pytest.raises(execute.NotebookFailed) as caught:
        execute.run("01", out=full / "x.ipynb")
    assert re.search(rf"{full}\S*( could not be written \(|: [\w ]+; make room there)", str(caught.value))
    assert [name for name in os.listdir(full) if not name.endswith((".lock", ".failed.ipynb"))] == []


def test_errors_of_other_kinds_pass_as_they_are(tmp_path):
    for error in (OSError(errno.EIO, "bad disk"), ValueError("no number"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, whole_file(tmp_path / "a"):
            raise error
        assert caught.value is error and os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no file, even from root")
@pytest.mark.parametrize("place", ["/proc", "/sys", "/proc/self/task", "/proc/1/fd", "/dev/null/below"])
def test_nobody_waits_for_a_lock_that_cannot_be_had(place):
    said = rf"^{place}: nothing can be written there \([\w ]+\); name another place$"
    with pytest.raises(OSError, match=said), locked(Path(place, "x.lock"), lambda: None):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_a_disk_without_locks_is_named(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for lock in (lambda: locked(tmp_path / "x.lock", lambda: None), lambda: checkpoints._alone_in(tmp_path)):
        with pytest.raises(OSError, match=rf"^{tmp_path}: nothing can be locked there .*; name another place$"), lock():
            pass


def test_every_lock_is_taken_where_its_place_is_looked_at(kit, monkeypatch, tmp_path):
    monkeypatch.setenv("ADAPTLAB_CACHE", "/proc/cache")
    model = next(iter(packaged.PACKAGED.values()))
    for wanted in (
        lambda: packaged.converted(model),
        lambda: report.build(out=Path("/proc/site")),
        lambda: checkpoints._alone_in(Path("/proc/run")).__enter__(),
    ):
        write("01_tiny", "1")
        with pytest.raises(OSError, match="nothing can be written there"):
            wanted()


def test_while_it_is_written_a_file_is_private_and_then_it_is_not(tmp_path):
    with whole_file(tmp_path / "a") as new:
        assert new.stat().st_mode & 0o777 == 0o600
        new.write_text("x")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~files._MASK
    with whole_folder(tmp_path / "b") as new:
        assert new.parent.stat().st_mode & 0o777 == 0o700
    with whole_file(tmp_path / "c") as new:
        save_file({"a": torch.zeros(3)}, new)
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o666 & ~files._MASK


def test_a_notebook_that_runs_is_private(kit):
    out = kit / "o"
    seen = f"import os, glob\nprint([oct(os.stat(p).st_mode)[-3:] for p in glob.glob({str(out / '.x.*.ipynb')!r})])"
    write("01_tiny", seen)
    made = execute.run("01", out=out / "x.ipynb")
    (cell,) = nbformat.read(made.path, as_version=4).cells[2:]
    assert cell.outputs[0].text == "['600']\n" and made.path.stat().st_mode & 0o777 == 0o666 & ~files._MASK


def test_the_rows_of_a_notebook_that_runs_are_private(kit):
    out = kit / "o"
    rows = "import pandas as pd\nfrom adaptlab.evidence import frames\nfrom pathlib import Path\n"
    rows += "frames.keep(pd.DataFrame({'a': [1, 2]}))\n"
    seen = f"print(sorted((p.suffix, oct(p.stat().st_mode)[-3:]) for p in Path({str(out)!r}).glob('.x.*.[cp]*')))"
    write("01_tiny", rows + seen)
    made = execute.run("01", out=out / "x.ipynb")
    (cell,) = nbformat.read(made.path, as_version=4).cells[2:]
    assert cell.outputs[0].text == "[('.csv', '600'), ('.ipynb', '600'), ('.parquet', '600')]\n"
    found = results.beside(made.path)
    assert len(found) == 2 and all(path.stat().st_mode & 0o777 == 0o666 & ~files._MASK for path in found)
    assert not list(out.glob(".x.*partial*")) and not list(out.glob("..*"))


ODD = [b"\xff.ipynb", b"a\xe9.ipynb", b"\xed\xa0\x80.ipynb", b"x/\xfe/y.ipynb", b"\xc3.ipynb"]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_name_that_is_not_utf8_is_refused_before_anything_runs(kit, name):
    path = write("01_tiny", counting(kit), parameters="words: str = ''")
    odd = Path(os.fsdecode(os.fsencode(kit / "o") + b"/" + name))
    for call in (lambda: execute.run("01", out=odd), lambda: notebooks.find(odd), lambda: report.build(out=odd)):
        with pytest.raises(LookupError, match=r"the name is not in UTF-8; use another one"):
            call()
    with pytest.raises(ValueError, match="must be text in UTF-8"):
        execute.run(path, parameters={"words": "\udcff"})
    assert not (kit / "marks").exists()


def run_kit(*arguments: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "adaptlab", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    return subprocess.Popen(command, env=ENVIRONMENT | environment, **pipes)


@pytest.mark.parametrize("locale", ["C", "POSIX", "nonsense.ISO-8859-1"])
def test_an_odd_locale_changes_nothing(kit, locale):
    folder = kit / "ü b"
    folder.mkdir()
    path = write("01_tiny", "print('ñ …')").rename(folder / "ñ x.ipynb")
    odd = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    child = run_kit("run", str(path), "--out", str(folder / "ö.ipynb"), **odd)
    said, errors = child.communicate(timeout=300)
    assert child.returncode == 0 and "ñ x … finished" in said.decode(), errors.decode()
    assert "ñ …" in (folder / "ö.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_tidies_up(kit, number):
    temporary, out = kit / "t", kit / "o" / "x.ipynb"
    temporary.mkdir()
    (kit / "home").mkdir()
    begin = f"import tempfile\n_ = tempfile.mkdtemp()\nopen({str(kit / 'begun')!r}, 'w').close()"
    path = write("01_tiny", begin, "import time; time.sleep(60)")
    child = run_kit("run", str(path), "--out", str(out), TMPDIR=str(temporary), HOME=str(kit / "home"))
    while not (kit / "begun").exists():
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    assert len(os.listdir(temporary)) == 1  # all that a run leaves in passing lies in one folder
    os.kill(child.pid, number)
    _, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (128 + number, b"adaptlab: stopped; nothing was written\n")
    assert [path.name for path in out.parent.iterdir()] == [".x.lock"] and os.listdir(temporary) == []
    assert not [path for path in (kit / "home").rglob("*kernel-*.json")]


def test_stopped_before_it_begins_it_says_so(tmp_path):
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(9)\n")
    child = run_kit("--help", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert (child.communicate()[1], child.returncode) == (b"adaptlab: stopped; nothing was written\n", 143)


def test_what_killed_runs_left_among_temporary_files_goes_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("adaptlab-dead", "adaptlab-busy", "somebody-else"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "alive").touch()
    with (tmp_path / "adaptlab-busy" / "alive").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        with kernel._own_folder() as folder:
            assert sorted(os.listdir(tmp_path)) == sorted(["adaptlab-busy", "somebody-else", Path(folder).name])
        assert sorted(os.listdir(tmp_path)) == ["adaptlab-busy", "somebody-else"]


DIED = {
    "killed": "import os; os.kill(os.getpid(), 9)",
    "crashed": "import os; os.kill(os.getpid(), 11)",
    "aborted": "import os; os.abort()",
    "left": "import os; os._exit(3)",
}


@pytest.mark.parametrize("how", DIED)
@pytest.mark.parametrize("short", [True, False])
def test_a_kernel_that_dies_says_whether_memory_ran_out(kit, monkeypatch, how, short):
    counts = iter([4, 5 if short else 4])
    monkeypatch.setattr(kernel, "memory_kills", lambda: next(counts))
    write("01_tiny", DIED[how])
    said = "the memory ran out, and the system killed the kernel; take a" if short else "the kernel died"
    with pytest.raises(execute.NotebookFailed, match=rf"01_tiny\.ipynb, cell 3 of 3: {said}"):
        execute.run("01")


def test_a_kernel_that_cannot_start_for_want_of_memory_says_what_happened(kit, monkeypatch):
    write("01_tiny", "x = bytearray(3_000_000_000)")
    code = (
        "import resource, sys, tiny; from pathlib import Path; from adaptlab.runner import execute\n"
        "import papermill, nbformat\n"
        "tiny.use(Path(sys.argv[1])); resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)\n"
        "try: execute.run('01')\n"
        "except execute.NotebookFailed as error: print('SAID', error)"
    )
    for limit in (1_000_000_000, 2_000_000_000):
        run = subprocess.run(
            [sys.executable, "-c", code, str(kit), str(limit)], env=ENVIRONMENT, capture_output=True, text=True
        )
        said = run.stdout.partition("SAID ")[2]
        assert re.search(r"01_tiny\.ipynb(, cell 3 of 3)?: (MemoryError|the kernel died|\w+: \w)", said), run


def test_the_runner_stays_small(kit):
    """Beside the kernel it is what a run costs; on record it counts as well."""
    write("01_tiny", "1")
    made = execute.run("01")
    assert provenance.recorded(made.path).machine["runner_peak_bytes"] > 2**24
    code = (
        "import sys, tiny; from pathlib import Path; from adaptlab.runner import provenance, report\n"
        "tiny.use(Path(sys.argv[1])); report.build(); print(provenance.peak_memory() // 2**20)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(kit)], env=ENVIRONMENT, capture_output=True, text=True)
    assert int(run.stdout.splitlines()[-1]) < 180, "MiB"


def test_the_kits_own_folders_are_not_written_to(kit):
    write("01_tiny", "import os, tempfile\nprint(tempfile.gettempdir() == os.environ['JUPYTER_RUNTIME_DIR'])")
    made = execute.run("01")
    assert "True" in made.path.read_text() and sorted(os.listdir(paths.NOTEBOOKS)) == ["01_tiny.ipynb"]
