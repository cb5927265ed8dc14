"""What was damaged on a disk: caches are computed anew, and of all else file and remedy are named."""

import hashlib
import json
import random
import re
import sqlite3
from pathlib import Path

import nbformat
import pytest

from adaptlab import files
from adaptlab.engine import checkpoints
from adaptlab.engine.checkpoints import LOG, STATE, CannotResume
from adaptlab.engine.folders import ModelNotFound, base_of
from adaptlab.evidence import judge
from adaptlab.methods import self_instruct
from adaptlab.methods.trials import _Kept
from adaptlab.runner import execute, notebooks, provenance, report
from adaptlab.tasks.rows import FormatError
from conftest import DAMAGE
from test_training import LONG, drawn, tiny_lm, train
from tiny import counting, marks, use, write

NESTED = b"[" * 100_000
TEXTS = {
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "cut": lambda data: data[: len(data) // 2],
    "a flipped bit": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "nested": lambda data: NESTED,
    "no text": lambda data: b"\xff\xfe" + data,
    "another shape": lambda data: b'{"sha256": 3, "seconds": []}',
    "null": lambda data: b"null",
    "a huge number": lambda data: b"1" * 6000,
}


@pytest.fixture
def recorded(tmp_path):
    """A run on record: its output, and the file beside it."""
    output = tmp_path / "01_tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), output)
    facts = {"profile": "quick", "parameters": {"seed": 0}, "key": "abc", "output_sha256": files.sha256(output)}
    facts |= {"notebook": "01_tiny", "output": output.name, "started": "2026-01-31", "seconds": 3.5}
    provenance.RunRecord(**facts, machine={"threads": 2}, folder=tmp_path).save()
    assert provenance.finished(output, "abc")
    return output, tmp_path / "01_tiny.run.json"


@pytest.mark.parametrize("damage", TEXTS)
def test_a_damaged_run_record_is_no_record(recorded, damage):
    output, record = recorded
    record.write_bytes(TEXTS[damage](record.read_bytes()))
    assert provenance.recorded(output) is None and provenance.finished(output, "abc") is None
    with pytest.raises(provenance.OutputRefused, match=r"no 01_tiny\.run\.json says|is no run record"):
        provenance.refuse_foreign(output, "01_tiny")


@pytest.mark.parametrize(
    ("old", "new"),
    [('"seconds": ', '"seconds": 1'), ("finished", "finishes"), ('"threads": ', '"threads": 9'), ("abc", "abd")],
)
def test_every_sign_of_a_record_counts(recorded, old, new):
    output, record = recorded
    whole = record.read_text()
    record.write_text(whole.replace(old, new))
    assert record.read_text() != whole and provenance.recorded(output) is None


@pytest.mark.parametrize("damage", TEXTS)
def test_a_damaged_notebook_is_not_a_result_and_not_a_source(recorded, damage):
    output, _ = recorded
    output.write_bytes(TEXTS[damage](output.read_bytes()))
    assert provenance.finished(output, "abc") is None
    if damage != "a flipped bit":
        with pytest.raises(notebooks.NotebookUnreadable, match=r"^01_tiny\.ipynb: not a readable notebook"):
            notebooks.read(output)


@pytest.mark.parametrize("damage", [name for name in TEXTS if name != "a flipped bit"])
def test_a_damaged_report_is_not_replaced(tmp_path, damage):
    whole = b'{"format": "adaptlab report 1"}'
    (tmp_path / "report.json").write_bytes(whole)
    report._refuse_foreign(tmp_path)
    (tmp_path / "report.json").write_bytes(TEXTS[damage](whole))
    with pytest.raises(provenance.OutputRefused, match="is there already and is not a report; name another place"):
        report._refuse_foreign(tmp_path)


def test_what_was_damaged_in_the_kits_own_folder_is_made_anew(tmp_path, monkeypatch):
    use(tmp_path, monkeypatch.setattr)
    write("01_tiny", counting(tmp_path))
    made = execute.run("01")
    made.path.with_name("01_tiny.run.json").write_bytes(NESTED)
    assert not execute.run("01").cached and marks(tmp_path) == 2


@pytest.fixture
def trained(tmp_path):
    folder = tmp_path / "run"
    short = {"items": drawn(4), "config": checkpoints_config(), "folder": folder, "save_every": 2}
    train(tiny_lm("llama").model, **short)
    return folder, short


def checkpoints_config():
    return provenance.replace(LONG, epochs=2)


def test_a_run_goes_on_from_what_is_whole(trained):
    folder, short = trained
    before = (folder / LOG).read_text()
    assert train(tiny_lm("llama").model, **short).log == [json.loads(line) for line in before.splitlines()]


LOGS = {
    "a digit": lambda data: data.replace(b"1", b"2", 1),
    "no json": lambda data: b"}" + data[1:],
    "nested": lambda data: NESTED + data,
    "zeros": lambda data: bytes(len(data)),
    "no text": lambda data: b"\xff" + data[1:],
    "lines changed places": lambda data: b"".join(data.splitlines(keepends=True)[::-1]),
    "gone": None,
}


@pytest.mark.parametrize("harm", LOGS)
def test_a_damaged_log_is_named_with_the_remedy(trained, harm):
    folder, short = trained
    log = folder / LOG
    if LOGS[harm]:
        log.write_bytes(LOGS[harm](log.read_bytes()))
    else:
        log.unlink()
    with pytest.raises(CannotResume, match=rf"^{re.escape(str(log))} .*Delete {re.escape(str(folder))} to begin anew$"):
        train(tiny_lm("llama").model, **short)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named(trained, damage):
    folder, short = trained
    state = folder / STATE
    state.write_bytes(DAMAGE[damage](state.read_bytes()))
    with pytest.raises(CannotResume, match=rf"^{re.escape(str(state))} is damaged: .*Delete "):
        train(tiny_lm("llama").model, **short)


def test_a_checkpoint_without_the_digest_of_its_log_still_serves(trained):
    """As earlier versions wrote it."""
    folder, short = trained
    with checkpoints.opened(folder / STATE) as file:
        facts = dict(file.metadata())
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    old = {name: facts[name] for name in ("done", "origin")}
    checkpoints.save_file(kept, folder / STATE, old | {"sha256": checkpoints._checksum(kept, old)})
    train(tiny_lm("llama").model, **short)


@pytest.mark.parametrize("seed", range(5))
def test_scores_that_were_damaged_are_computed_anew(tmp_path, seed):
    file = str(tmp_path / "scores")
    kept = _Kept(file)
    kept.belongs_to("model")
    rows = {hashlib.sha256(bytes([n])).hexdigest(): (n / 7, 1.0, 2.0, 3.0) for n in range(20)}
    kept.write(rows, [1, 2, 3])
    assert kept.read(rows) == rows and kept.prefix() == [1, 2, 3]
    rng, base = random.Random(seed), sqlite3.connect(file)
    harmed = rng.sample(sorted(rows), 5)
    for name, text in zip(harmed, ("[9, 9, 9, 9]", "{", "[" * 100_000, "null", ""), strict=True):
        base.execute("UPDATE pairs SET value = ? WHERE name = ?", (text, name))
    base.execute("UPDATE about SET value = '[1, 2, 99999]' WHERE name = 'prefix'")
    base.commit()
    again = _Kept(file)
    assert again.read(rows) == {name: row for name, row in rows.items() if name not in harmed} and again.prefix() == []
    again.write({name: rows[name] for name in harmed}, [1])
    assert _Kept(file).read(rows) == rows


@pytest.mark.parametrize("damage", [name for name in TEXTS if name != "empty"])
def test_a_file_of_scores_that_is_none_is_named(tmp_path, damage):
    file = tmp_path / "scores"
    kept = _Kept(str(file))
    kept.write({f"{n:064d}": (1.0, 1.0, 1.0, 1.0) for n in range(400)}, [])
    data = bytearray(file.read_bytes())
    if damage == "a flipped bit":
        data[0] ^= 1
    else:
        data = TEXTS[damage](bytes(data))
    file.write_bytes(data)
    with pytest.raises(
        ValueError, match=rf"^{file} is not a file of kept scores, or is damaged: .*; name another one$"
    ):
        kept = _Kept(str(file))
        kept.read([f"{n:064d}" for n in range(400)])


ROUNDS = {
    "a letter": lambda text: text.replace("one", "two", 1),
    "a round is gone": lambda text: "".join(text.splitlines(keepends=True)[:-1]),
    "a round twice": lambda text: text + text.splitlines(keepends=True)[-1],
    "no json": lambda text: text + "{",
    "nested": lambda text: text + "[" * 100_000,
    "another shape": lambda text: text + "3\n",
    "empty": lambda text: "",
    "no head": lambda text: "[]\n" + text,
    "a head of another shape": lambda text: "3\n" + text,
}


@pytest.mark.parametrize("harm", ROUNDS)
def test_a_damaged_file_of_rounds_is_named(tmp_path, harm):
    path, head = tmp_path / "rounds.jsonl", {"model": "m", "seed": 1}
    lines = [[{"draft": f"one {n}", "filter": "reading", "reason": "x"}] for n in range(3)]
    body = [json.dumps(line) for line in lines]
    whole = "\n".join([json.dumps(head | self_instruct._seal(body)), *body, ""])
    path.write_text(whole)
    assert self_instruct._begun(path, head) == lines
    path.write_text(ROUNDS[harm](whole))
    with pytest.raises(FormatError, match=r"^rounds\.jsonl:\d+: "):
        self_instruct._begun(path, head)


@pytest.mark.parametrize("damage", TEXTS)
def test_a_damaged_verdict_is_asked_for_again(tmp_path, damage):
    file, asked = tmp_path / "verdict.json", {"prompt": "which?", "n": 1}
    file.write_text(json.dumps({"asked": asked, "reply": "1"}))
    assert judge._kept(file, asked) == "1"
    file.write_bytes(TEXTS[damage](json.dumps({"asked": asked, "reply": "1"}).encode()))
    assert judge._kept(file, asked) is None


@pytest.mark.parametrize("base", ['["study"]', "3", "null", '""', '{"a": 1}', "[" * 100_000], ids=range(6))
def test_adapters_that_name_no_model_are_refused(tmp_path, base):
    (tmp_path / "adapter_config.json").write_text(f'{{"base_model_name_or_path": {base}}}')
    with pytest.raises(ModelNotFound, match=rf"^{tmp_path}/adapter_config\.json"):
        base_of(Path(tmp_path))
