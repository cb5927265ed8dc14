"""The frame of the house: what is declared, installed, shipped and imported agrees."""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import adaptlab

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
ROOMS = ["tasks", "engine", "studymodel", "methods", "evidence", "studies", "runner"]
SOURCES = sorted((ROOT / "lib" / "adaptlab").rglob("*.py"))
EXTRAS = ("real", "smollm2", "data", "serve", "dev")
# Distribution to import name, where they differ.
IMPORT_NAMES = {
    "pillow": "PIL",
    "pyyaml": "yaml",
    "huggingface-hub": "huggingface_hub",
    "ipython": "IPython",
    "beautifulsoup4": "bs4",
}
CONDA_NAMES = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}


def requirements(*extras: str) -> dict[str, SpecifierSet]:
    lines = PROJECT["dependencies"] + [r for e in extras for r in PROJECT["optional-dependencies"][e]]
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r.specifier for r in parsed}


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_the_locked_versions_satisfy_what_is_declared():
    lock = (ROOT / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", lock, re.M))
    for name, specifier in requirements(*EXTRAS).items():
        if name == "torch":
            assert name not in pinned, "torch is installed first, outside the lock"
            continue
        assert pinned.get(name) in specifier, f"{name} {specifier}: the lock pins {pinned.get(name)}; run make lock"


def test_the_lock_names_no_host_and_hashes_everything():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert not re.search(r"^(torch|nvidia|triton)", lock, re.M)
    assert len(re.findall(r"^[a-z0-9._-]+==", lock, re.M)) == len(
        re.findall(r"^[a-z0-9._-]+==.*\\\n +--hash", lock, re.M)
    )


def test_environment_yml_repeats_the_declared_bounds():
    """Every conda entry has pyproject's bound; its pip section installs this project with extras that exist."""
    *conda, pip = ENVIRONMENT["dependencies"]
    declared = requirements()
    for entry in conda:
        name, bound = re.match(r"([\w-]+)(.*)", entry).groups()
        if name == "python":
            assert f"{bound.removeprefix('=')}.0" in SpecifierSet(PROJECT["requires-python"])
        elif name != "pip":
            assert declared[CONDA_NAMES.get(name, name)] == SpecifierSet(bound), entry
    (line,) = pip["pip"]
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", line).group(1).split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_environment_yml_holds_the_whole_card():
    card = {"jupyterlab", "ipywidgets", "torch", "transformers", "peft", "matplotlib", "seaborn", "nbval", "papermill"}
    named = {CONDA_NAMES.get(n, n) for n in (re.match(r"[\w-]+", e)[0] for e in ENVIRONMENT["dependencies"][:-1])}
    assert card <= named and card <= set(requirements())


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT / "lib").as_posix())
def test_imports_point_downwards(path):
    room = path.relative_to(ROOT / "lib" / "adaptlab").parts[0]
    if room not in ROOMS:
        return
    above = ROOMS[ROOMS.index(room) + 1 :]
    found = {name for name in imported(path) if name.startswith("adaptlab.") and name.split(".")[1] in above}
    assert not found, f"{room} must not import from the rooms above it"


def test_rooms_keep_their_walls():
    for path in SOURCES:
        room, tops = path.relative_to(ROOT / "lib" / "adaptlab").parts[0], {n.split(".")[0] for n in imported(path)}
        if room == "tasks":
            assert not tops & {"torch", "transformers", "peft"}, path
        if room != "runner":
            assert not tops & {"papermill", "nbconvert"}, path
        if path.name != "kv_sharing.py":
            assert "transformers.cache_utils" not in imported(path), f"{path}: caches are engine/kv_sharing.py's"


def test_every_import_is_declared():
    known = {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in requirements(*EXTRAS)}
    known |= {*sys.stdlib_module_names, "adaptlab"}
    for path in SOURCES:
        assert {n.split(".")[0] for n in imported(path)} <= known, path


def test_nothing_imports_the_folder_lib():
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]:
        assert not re.search(r"^\W*(from|import) lib\b", path.read_text(), re.M), path
    assert not (ROOT / "lib" / "__init__.py").exists()


def test_every_room_is_listed_for_packaging():
    packages = {p.parent.relative_to(ROOT / "lib").as_posix().replace("/", ".") for p in SOURCES}
    assert packages | {"adaptlab.data", "adaptlab.notebooks"} == set(PYPROJECT["tool"]["setuptools"]["packages"])


def tracked() -> list[str]:
    """Files that git tracks; the tests that need them skip outside a checkout."""
    if not shutil.which("git") or subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("not a git checkout, or no git")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_the_wheel_holds_the_package_its_data_and_its_notebooks(tmp_path):
    """Built from a copy of the tracked files, so that nothing left in the checkout can slip in or hide a gap."""
    source = tmp_path / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    options = ["-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = [re.sub(r"^lib/|^(?=data/|notebooks/)", lambda m: "" if m[0] else "adaptlab/", n) for n in tracked()]
    wanted = [n for n in wanted if n.startswith("adaptlab/") and not re.search(r"conftest|[.]cfg$|/pictures/", n)]
    assert len(wanted) > 50 and set(wanted) <= held, set(wanted) - held


def test_git_does_not_hide_the_package_or_the_data():
    tracked()
    for place in (
        "lib/adaptlab/new.py",
        "data/new.jsonl",
        "data/models/study/model.safetensors",
        "notebooks/new.ipynb",
    ):
        ignored = subprocess.run(["git", "check-ignore", "-q", place], cwd=ROOT)
        assert ignored.returncode == 1, f"{place} would be ignored"


@pytest.mark.parametrize(
    ("said", "expected"),
    [({}, "PASSIVE 1000"), ({"GOMP_SPINCOUNT": "0"}, "PASSIVE 0"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None")],
)
def test_threads_soon_sleep_unless_the_user_says_how_they_wait(said, expected):
    code = "import os, adaptlab; print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"
    given = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | said
    run = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == expected


PUBLIC = """
Chooser Decoding FinetuneConfig Full Generator LABEL_MAPPINGS Lora NOT_TESTED NaiveBayes Request TrainingConfig
Verdicts WordForWord align_items build_examples check_exercise claim claims cost curve describe evaluate evaluate_turns
explore fitting generate grid in_context load load_open load_records load_seed load_task once panels points
predictions provenance read save score seed_strip select settle shares shown summary token_shift told tune with_alt_text
"""


def test_the_public_names_are_these_and_each_says_what_it_is():
    assert sorted(adaptlab.__all__) == sorted(PUBLIC.split())
    for name in PUBLIC.split():
        found = getattr(adaptlab, name)
        assert name.isupper() or inspect.isclass(found) or inspect.isfunction(found)
        assert name.isupper() or len((found.__doc__ or "").split()) > 4, name


def test_the_readmes_lines_of_python_run(tmp_path):
    rows = [
        {"id": f"r{i}", "text": f"{word} day {i}", "label": label, "split": "pool" if i < 48 else "test"}
        for i, (word, label) in enumerate([("sunny", "hot"), ("icy", "cold")] * 26)
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code = "".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S))
    code += "\nprint(len(set(found.shown)), frame.shots.unique().tolist(), len(frame))"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("4 [0, 4, 16] 36")
