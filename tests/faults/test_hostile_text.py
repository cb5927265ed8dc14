"""Texts that make no sense: nested, endless, impossible. Each is a documented error, at once, and with its place."""

import random
import time
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from adaptlab.evidence.ledger import LEDGER, LedgerError, load_ledger
from adaptlab.files import YamlError, read_json, read_yaml
from adaptlab.runner import notebooks
from adaptlab.runner.cli import app
from adaptlab.runner.parameters import ParameterError, check, declared, parse, resolve
from adaptlab.tasks.instructions import LIST_TASKS
from tiny import use, write

DEEP = 100_000
BOMB = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(12))
YAML = {
    "nested lists": "[" * DEEP,
    "nested mappings": "{a: " * DEEP,
    "nested blocks": "- " * DEEP,
    "5,000 digits": f"a: {'9' * 5000}",
    "5,000 digits in hexadecimal": f"a: 0x{'f' * 5000}",
    "5,000 digits in binary": f"a: 0b{'1' * 50_000}",
    "5,000 digits in an old form": f"a: {':'.join(['59'] * 5000)}",
    "month 13": "a: 2026-13-01",
    "30 February": "a: 2026-02-30",
    "hour 25": "a: 2026-01-01 25:00:00",
    "year 0": "a: 0000-01-01",
    "no date": "a: !!timestamp x",
    "no number": "a: !!int x",
    "no decision": "a: !!bool x",
    "no bytes": "a: !!binary ü",
    "a bomb of aliases": BOMB,
    "an alias of itself": "&a [*a]",
    "a merged mapping": "a: &a {b: 1}\nc: {<<: *a}",
    "a key twice": "a: 1\na: 2",
    "a list as key": "? [1]\n: 2",
    "a mapping as key": "? {a: 1}\n: 2",
    "a call": "a: !!python/object/apply:os.system [x]",
    "another tag": "a: !mine x",
    "a tab": "a:\n\t- b",
    "half a file": "a: [1, 2",
    "bytes": "a: \udcff",
    "a zero": "a: \x00",
    "two documents": "a: 1\n---\nb: 2",
    "quotes": "a: 'x",
    "percent": "%YAML 9.9\n---\na",
}


def in_a_moment(call) -> None:
    began = time.process_time()
    call()
    assert time.process_time() - began < 5


@pytest.fixture
def kit(tmp_path, monkeypatch):
    use(tmp_path, monkeypatch.setattr)
    write("01_tiny", "1", parameters="seed: int = 0\nlr: float = 0.1\nwords: list[str] = ['a']\nany: list = []")
    (tmp_path / "notebooks" / "profiles").mkdir()
    return tmp_path


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_yaml_that_makes_no_sense_is_refused_with_its_line(text):
    with pytest.raises(YamlError) as caught:
        in_a_moment(lambda: read_yaml(text.encode(errors="surrogateescape")))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_so_is_a_profile_and_a_ledger_and_a_parameter(kit, text):
    data = text.encode(errors="surrogateescape")
    (kit / "notebooks" / "profiles" / "study.yaml").write_bytes(data)
    with pytest.raises(notebooks.ProfileUnreadable, match=r"^profiles/study\.yaml"):
        in_a_moment(lambda: resolve(notebooks.find("01"), "study", {}))
    (kit / "claims.yaml").write_bytes(data)
    with pytest.raises(LedgerError, match=r"^claims\.yaml(:\d+)?: "):
        in_a_moment(lambda: load_ledger(kit / "claims.yaml"))
    for name in ("words", "any", "seed", "lr"):
        with pytest.raises(ParameterError, match=f"^-p {name} must be"):
            in_a_moment(lambda name=name: parse(declared(notebooks.find("01")), [f"{name}={text}"]))


@pytest.mark.parametrize("day", ["2026-13-01", "2026-02-30", "2026-00-10", "0000-01-01", "2025-02-29"])
def test_an_impossible_day_in_the_ledger_is_told_with_file_and_line(tmp_path, day):
    text = LEDGER.read_text(encoding="utf-8")
    place = text.index("registered: ") + len("registered: ")
    (tmp_path / "claims.yaml").write_text(text[:place] + day + text[text.index("\n", place) :], encoding="utf-8")
    line = text[:place].count("\n") + 1
    with pytest.raises(LedgerError, match=rf"^claims\.yaml:{line}: '{day}' is no timestamp"):
        load_ledger(tmp_path / "claims.yaml")


CELLS = {
    "minus signs": "x: int = " + "-" * 20_000 + "1",
    "not": "x: bool = " + "not " * 20_000 + "True",
    "brackets": "x: list = " + "[" * 20_000,
    "closed brackets": "x: list = " + "[" * 20_000 + "]" * 20_000,
    "a sum": "x: int = " + "1+" * 20_000 + "1",
    "names": "x: int = " + "a." * 20_000 + "a",
    "calls": "x: int = f" + "()" * 20_000,
    "digits": f"x: int = {'9' * 5000}",
    "hexadecimal digits": f"x: int = 0x{'f' * 5000}",
    "a zero": "x: int = 1\x00",
    "a type without end": "x: " + "list[" * 20_000 + "int" + "]" * 20_000 + " = []",
    "half a character": "x: str = '\\ud800'",
    "half a line": "x: str = '",
    "no number": "x: float = 1e999",
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_parameters_cell_that_makes_no_sense_is_refused(kit, cell):
    write("02_odd", "1", parameters=cell)
    with pytest.raises(ParameterError, match=r"^02_odd\.ipynb, parameters cell"):
        in_a_moment(lambda: declared(notebooks.find("02")))


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, '{"cells": ' + "[" * DEEP, "9" * 5000, "\ud800", ""])
def test_a_notebook_that_makes_no_sense_is_refused(kit, text):
    path = kit / "notebooks" / "03_odd.ipynb"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(notebooks.NotebookUnreadable, match=r"^03_odd\.ipynb: not a readable notebook"):
        notebooks.read(path)
    if text:
        with pytest.raises(ValueError):
            read_json(text.encode(errors="surrogatepass"))


NAMES = ["9" * 5000, "٣", "-1", "0x1", "../../etc/passwd", "", ".", "a" * 200, "\x00", "01_tiny.ipynb/x", "{}", "%s"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_notebook_that_is_not_there_is_a_message(kit, name):
    with pytest.raises(notebooks.NotebookNotFound, match="no notebook is called"):
        notebooks.find(name)


SENSELESS = [
    ("items: int = 8", "items=-1", "must be at least 0, not -1"),
    ("lr: float = 0.1", "lr=-0.5", "must be at least 0, not -0.5"),
    ("shots: list[int] = [0, 4]", "shots=[0, -4]", r"shots\[1\] must be at least 0"),
    ("seeds: list[int] = [0]", "seeds=[]", "must not be empty"),
    ("recipes: list[str] = ['pages']", "recipes=[]", "must not be empty"),
    ("list_tasks: list[str] = []", "list_tasks=[none]", f"must be one of {', '.join(LIST_TASKS)}, not 'none'"),
    ("list_tasks: list[str] = []", "list_tasks=[revers]", "Did you mean reverse?"),
    ("vocabulary: str = 'study'  # one of study, english: words", "vocabulary=klingon", "one of study, english, not"),
    ("items: int = 8", f"items={'9' * 400}", "must be a number of up to 1000 bits"),
    ("lr: float = 1.0", f"lr={'9' * 400}", "must be of type float, not inf"),
]


@pytest.mark.parametrize(("line", "given", "said"), SENSELESS)
def test_a_parameter_that_makes_no_sense_is_refused_before_a_kernel_starts(kit, line, given, said):
    write("04_n", "1", parameters=line)
    with pytest.raises(ParameterError, match=said):
        parse(declared(notebooks.find("04")), [given])
    result = CliRunner().invoke(app, ["run", "04", "-p", given])
    assert (result.exit_code == 2 and not (kit / "build").exists()) or not list((kit / "build").iterdir())


@pytest.mark.parametrize(
    ("line", "given", "value"),
    [
        ("shift: int = -3", "shift=-9", -9),
        ("seed: int = 0", "seed=-1", -1),
        ("list_tasks: list[str] = []", "list_tasks=[]", []),
        ("low: float = 1.0  # -2 or more", "low=-1.5", -1.5),
        ("items: int = 8", "items=0", 0),
    ],
)
def test_what_may_be_negative_or_empty_stays_so(kit, line, given, value):
    write("04_n", "1", parameters=line)
    assert list(parse(declared(notebooks.find("04")), [given]).values()) == [value]


@pytest.mark.parametrize("name", ["model", "other", "tuned", "student"])
def test_every_model_that_a_notebook_names_is_looked_for_first(kit, name):
    path = write("05_n", "1 / 0", parameters=f"{name}: str = 'study'")
    result = CliRunner().invoke(app, ["run", str(path), "-p", f"{name}=studdy"])
    assert (
        result.exit_code == 2 and "model 'studdy' is neither" in result.output and "Did you mean study" in result.output
    )


SIGNS = "[]{}:,-#&*!|>'\"%@`?<=~.0123456789abcxyzTrue \n\t\\\x00\x7f\x85\xa0\u2028\ufeff\U0001f600é"
WORDS = [
    "seed",
    "lr",
    "words",
    "any",
    "01_tiny",
    "-p",
    "--out",
    "true",
    "null",
    "~",
    "2026-13-01",
    "0x",
    "!!int ",
    "<<: ",
]


def mutated(rng: random.Random, text: str) -> str:
    """The text with a few signs or words changed, put in, left out or repeated."""
    for _ in range(rng.randrange(1, 6)):
        place, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        put = rng.choice([rng.choice(SIGNS), rng.choice(WORDS), text[place:end][:40], "".join(rng.choices(SIGNS, k=5))])
        text = text[:place] + put + text[rng.choice([place, min(end, place + 3)]) :]
    return text[:2000]


@pytest.mark.slow
def test_a_hundred_thousand_texts_end_in_the_documented_error(kit, monkeypatch):
    """Profiles, ledgers, parameters cells, -p and command lines, each mutated from one that is right."""
    seed = random.randrange(2**32)
    rng, known = random.Random(seed), declared(notebooks.find("01"))
    profile = "01_tiny:\n  seed: 3\n  lr: 0.5\n  words: [a, b]\n  any: [1, x, true, 2026-01-31]\n"
    claims = LEDGER.read_text(encoding="utf-8").split("\n- ")
    ledger = ["- " + one.removeprefix("- ") for one in claims if "registered" in one][:20]
    cell = "seed: int = 0  # one of 0, 1\nlr: float = 0.1  # above 0\nwords: list[str] = ['a']  # at least one\n"
    given = ["seed=3", "lr=1e-3", "words=[a, b]", "any=[1, x, {a: 2}]"]
    path = kit / "text"

    def profiles(text: str) -> None:
        path.with_name("p.yaml").write_text(text, encoding="utf-8")
        for section in notebooks._sections(path.with_name("p.yaml")).values():
            check(known, section)

    def ledgers(text: str) -> None:
        path.write_text(text, encoding="utf-8")
        load_ledger(path)

    def cells(text: str) -> None:
        code = nbformat.v4.new_code_cell(text, metadata={"tags": ["parameters"]})
        declared(nbformat.v4.new_notebook(cells=[code]))

    surfaces = {
        profiles: (lambda: profile, (notebooks.ProfileUnreadable, ParameterError)),
        ledgers: (lambda: rng.choice(ledger), LedgerError),
        cells: (lambda: cell, ParameterError),
        lambda text: parse(known, text.split("\x01")): (lambda: "\x01".join(rng.sample(given, 2)), ParameterError),
        lambda text: notebooks.find(text): (lambda: "01_tiny", (notebooks.NotebookNotFound, OSError)),
    }
    counts = dict.fromkeys(surfaces, 0)
    for number in range(100_000):
        surface = list(surfaces)[number % len(surfaces)]
        right, errors = surfaces[surface]
        text = mutated(rng, right())
        try:
            surface(text)
        except errors:
            counts[surface] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, input {number}: {text!r}") from error
    assert all(counts.values()), counts


@pytest.mark.slow
def test_two_thousand_command_lines_end_in_a_message(kit):
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    parts = [
        "run",
        "list",
        "report",
        "models",
        "doctor",
        "01",
        "01_tiny",
        "--profile",
        "quick",
        "-p",
        "seed=3",
        "--out",
    ]
    for number in range(2_000):
        words = [rng.choice(parts) for _ in range(rng.randrange(1, 6))]
        place = rng.randrange(len(words))
        words[place] = mutated(rng, words[place]) or "x"
        if words[0] in ("report", "run", "doctor", "models"):
            words[1:] = [*words[1:], "--profile", "nonsense"]  # nothing is to run
        result = CliRunner().invoke(app, words)
        right = result.exception is None or isinstance(result.exception, SystemExit)
        assert right and result.exit_code in (0, 1, 2), (seed, number, words, result.exception)
    assert not Path(kit / "build" / "executed").exists()
