"""Ways to open the notebooks without installing: what their files say fits the kit. (None is started here.)"""

import json
import re
import subprocess
from pathlib import Path

from packaging.specifiers import SpecifierSet

from adaptlab import paths
from adaptlab.runner import doctor

ROOT = Path(__file__).parents[1]
TEACHING = (paths.NOTEBOOKS / "README.md").read_text(encoding="utf-8")
FROZEN = """numpy==2.2.0
pytorch-lightning==2.5
torch==2.9.0+cu126
torchao==0.10
torchaudio==2.9.0+cu126
torchmetrics==1.8
torchvision==0.24.0+cu126
"""


def test_the_container_makes_what_the_makefile_makes_and_opens_its_python():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    make = (ROOT / "Makefile").read_text()
    venv = re.search(r"^VENV \?= (\S+)", make, re.M)[1]
    assert container["postCreateCommand"] == f"make {venv}/.ready" and "READY := $(VENV)/.ready" in make
    settings = container["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"] == f"${{containerWorkspaceFolder}}/{venv}/bin/python"
    assert "TORCH_INDEX_URL" in container["containerEnv"] and "$(TORCH_INDEX_URL)" in make
    image, version = container["image"].split(":")
    wanted = SpecifierSet(re.search(r'requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text())[1])
    assert image == "python" and f"{version}.0" in wanted
    assert int(container["hostRequirements"]["memory"].removesuffix("gb")) * 1024**3 >= doctor.MEMORY


def test_binder_finds_its_environment_in_the_root_and_opens_a_notebook_that_there_is():
    address = re.search(r"https://mybinder\.org/v2/gh/OWNER/adaptlab/HEAD\?urlpath=lab/tree/(\S+?)`", TEACHING)
    assert (ROOT / address[1]).is_file() and (ROOT / "environment.yml").is_file()
    assert not [name for name in ("binder", ".binder") if (ROOT / name).exists()], "it would hide environment.yml"


def test_colab_never_reinstalls_torch():
    lines = re.search(r"```text\n(!.*?)```", TEACHING, re.S)[1].splitlines()
    clone, hold, install = (line.removeprefix("!") for line in lines)
    assert clone.endswith("/adaptlab") and install == "pip install -q -c held.txt -e adaptlab"
    kept = hold.removeprefix("pip freeze | ").removesuffix(" > held.txt")
    held = subprocess.run(["bash", "-c", kept], input=FROZEN, capture_output=True, text=True, check=True).stdout
    assert held.split() == ["torch==2.9.0+cu126", "torchaudio==2.9.0+cu126", "torchvision==0.24.0+cu126"]


def test_the_teaching_page_links_to_files_that_there_are():
    for link in re.findall(r"\]\((?!http)([^)#]+)", TEACHING):
        assert (paths.NOTEBOOKS / link).exists(), link
