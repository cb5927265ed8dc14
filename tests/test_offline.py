"""The notebook runs without a network, as a reader's explorer (interactive) and with other parameters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

# Loaded by every Python of the run, the kernel's too: whoever looks for a host fails, and leaves a note.
GUARD = """
import os, socket

def refuse(*args, **kwargs):
    with open(os.environ["CALLS"], "a") as file:
        print(args, file=file)
    raise OSError("no network in this test")

connect = socket.socket.connect
socket.getaddrinfo = refuse
socket.socket.connect = lambda self, address: (
    connect(self, address) if self.family == socket.AF_UNIX else refuse(address)
)
"""


NOTEBOOKS = {
    "02": {"items": "4", "seeds": "[3, 4]", "shots": "[0, 4, 8]", "interactive": "true"},
    "A1": {"items": "4", "seeds": "[3, 4]", "retrain": "true", "retrain_steps": "3", "interactive": "true"},
}


@pytest.mark.parametrize(("notebook", "given"), NOTEBOOKS.items(), ids=NOTEBOOKS)
def test_the_notebook_runs_without_a_network_and_with_widgets(tmp_path, notebook, given):
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    out, calls = tmp_path / "out.ipynb", tmp_path / "calls"
    parameters = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    command = [Path(sys.executable).with_name("adaptlab"), "run", notebook, "--out", str(out), *parameters]
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment |= {"PYTHONPATH": str(tmp_path), "CALLS": str(calls)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    assert not calls.exists(), calls.read_text()
    cells = nbformat.read(out, as_version=4).cells
    shown = [o.data for c in cells for o in c.get("outputs", []) if "data" in o]
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
    record = json.loads((tmp_path / "out.run.json").read_text())
    assert record["parameters"]["items"] == 4 and record["seeds"] == {"seeds": [3, 4]}


def test_the_guard_bites(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "CALLS": str(tmp_path / "calls")}
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "no network in this test" in run.stderr and (tmp_path / "calls").exists()
