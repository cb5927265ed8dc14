"""Whole or absent: whatever happens while a file or folder is written."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from adaptlab import files
from adaptlab.files import YamlError, read_yaml, sha256, whole_file, whole_folder, write_text


def test_text_is_written_as_it_is_and_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("one\r\ntwo\n", "ü\u2028"):
        write_text(path, text)
        assert path.read_bytes() == text.encode() and os.listdir(tmp_path) == ["a.txt"]
    assert sha256(path) == hashlib.sha256(text.encode()).hexdigest()


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as new:
        new.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order = []
    real_sync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("sync"), real_sync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), real_replace(a, b))[1])
    write_text(tmp_path / "a", "x")
    with whole_folder(tmp_path / "f") as new:
        (new / "b").write_bytes(b"y")
    assert order == ["sync", "replace"] * 2


def test_a_folder_appears_whole_and_only_replaces_what_it_may(tmp_path):
    place = tmp_path / "deep" / "folder"
    with whole_folder(place) as new:
        (new / "a").write_text("1")
        assert not place.exists()
    with pytest.raises(OSError), whole_folder(place) as new:
        (new / "a").write_text("2")
    assert (place / "a").read_text() == "1"
    with whole_folder(place, replace=True) as new:
        (new / "b").write_text("3")
    assert os.listdir(place) == ["b"] and os.listdir(place.parent) == ["folder"]
    with pytest.raises(ZeroDivisionError), whole_folder(place, replace=True) as new:
        1 / 0  # noqa: B018
    assert os.listdir(place) == ["b"] and os.listdir(place.parent) == ["folder"]


def test_a_swap_that_was_cut_is_undone(tmp_path, monkeypatch):
    place, real = tmp_path / "folder", os.replace
    with whole_folder(place) as new:
        (new / "a").write_text("1")

    def cut(source, target):
        if str(target) == str(place):
            raise SystemExit
        real(source, target)

    monkeypatch.setattr(files.os, "replace", cut)
    with pytest.raises(SystemExit), whole_folder(place, replace=True):
        pass
    assert not place.exists()
    monkeypatch.setattr(files.os, "replace", real)
    with pytest.raises(ZeroDivisionError), whole_folder(place, replace=True):
        1 / 0  # noqa: B018
    assert (place / "a").read_text() == "1"


def test_readers_never_see_half_of_a_file_while_its_writer_is_killed(tmp_path):
    path = tmp_path / "a.bin"
    code = f"""
from adaptlab.files import write_text
i = 0
while True:
    i = (i + 1) % 128
    write_text({str(path)!r}, chr(i) * 200_000)
"""
    write_text(path, "\0" * 200_000)
    for pause in (0.3, 0.35, 0.41):
        writer = subprocess.Popen([sys.executable, "-c", code])
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        data = path.read_bytes()
        assert len(data) == 200_000 and len(set(data)) == 1


def test_yaml_is_strict_and_its_mappings_know_their_lines():
    (first, second) = read_yaml(b"- a: 1\n- b:\n    c: 2\n")
    assert (first.line, second.line, second["b"].line) == (1, 2, 3) and second == {"b": {"c": 2}}
    with pytest.raises(YamlError, match="'a' stands twice") as error:
        read_yaml(b"x: 1\na: 1\nb: 2\na: 3\n")
    assert error.value.line == 4
    for bad in (b"a: [", b"\xff", b"a: !!python/object:os.system x", b"d: 2026-13-01", b"[" * 100_000):
        with pytest.raises(YamlError):
            read_yaml(bad)
