"""Where a model's files are: the kit's own, packaged weights, a local folder, or a Hub id, and what identifies them.

Packaged models travel as GGUF files inside ordinary Python packages, so they need no model hub. They are
dequantised once into a local safetensors folder; after that they load in a second or two, like any other folder.
Imports no torch: the runner asks for digests without it.
"""

import difflib
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from adaptlab import paths
from adaptlab.engine import packaged
from adaptlab.engine.packaged import PACKAGED, Packaged
from adaptlab.files import sha256

# What a model is made of. No pickles: weights come as safetensors or not at all.
FILES = ("*.safetensors", "*.json", "*.model", "*.jinja", "merges.txt", "vocab.txt")
ADAPTER_CONFIG = "adapter_config.json"  # PEFT's
RECORD = "run.json"  # what a training run was


class ModelNotFound(LookupError):
    """The named model cannot be had here; the message lists what can, and how."""


def available() -> list[Packaged]:
    """The packaged models, installed or not."""
    return list(PACKAGED.values())


def embedded() -> list[str]:
    """Names of the models that come with the kit: its own, trained by `adaptlab.studymodel`."""
    folders = (config.parent.name for config in paths.MODELS.glob("*/config.json"))
    return sorted(name for name in folders if not name.startswith("."))  # not those still being written


def prepare(name: str) -> Path:
    """Make ``name`` ready to load and return its folder: converted, as it is, or downloaded from the Hub.

    Raises `ModelNotFound` for a name that is neither an embedded or packaged model, nor a folder with a
    ``config.json`` or adapters, nor an id of the form ``owner/model`` that can be had.
    """
    if name in embedded():
        return paths.MODELS / name
    if name in PACKAGED:
        return _converted(PACKAGED[name])
    if (Path(name) / "config.json").is_file() or (Path(name) / ADAPTER_CONFIG).is_file():
        return Path(name)
    if name.count("/") == 1 and not Path(name).is_absolute() and not name.startswith("."):
        try:
            return packaged.downloaded(name, FILES)
        except (OSError, ValueError) as error:
            raise ModelNotFound(what_can_be_had(name, f"could not be had from the Hub: {first_line(error)}")) from error
    raise ModelNotFound(
        what_can_be_had(name, "is neither a model of the kit, a packaged one, a model folder, nor a Hub id")
    )


def digest(name: str) -> str:
    """What identifies a model: the pinned sha256 of a packaged file, else the sha256 over the folder's weights,
    configuration and tokenizer; for adapters, over theirs and what identifies their model."""
    if name in PACKAGED:
        return PACKAGED[name].sha256
    folder = prepare(name)
    files = sorted(f for pattern in FILES for f in folder.glob(pattern) if f.name != RECORD)
    own = _sha256(tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files))
    if (folder / ADAPTER_CONFIG).is_file():
        return hashlib.sha256(f"{digest(base_of(folder))} {own}".encode()).hexdigest()
    return own


def base_of(folder: Path) -> str:
    """The name of the model that the adapters of a folder belong to. Raises `ModelNotFound` where none is told."""
    try:
        named = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise ModelNotFound(f"{folder / ADAPTER_CONFIG} could not be read: {first_line(error)}") from error
    if not named or (Path(named) / ADAPTER_CONFIG).is_file():
        raise ModelNotFound(f"{folder / ADAPTER_CONFIG}: base_model_name_or_path must name a model; found {named!r}")
    return named


def _converted(model: Packaged) -> Path:
    """The safetensors folder of a packaged model, made on first use."""
    if model.ready:
        return model.folder
    if not model.installed:
        raise ModelNotFound(what_can_be_had(model.name, f"needs a package: {model.how}"))
    model.folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{model.name}-", dir=model.folder.parent))
    try:
        source = model.locate(work)
        packaged.verify(source, model.sha256)
        packaged.convert(source, work / "ready")
        with suppress(OSError):  # another process was quicker: its folder is as good, and stays
            os.replace(work / "ready", model.folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not model.ready:
        raise OSError(f"{model.folder} could not be written")
    return model.folder


@lru_cache(maxsize=8)
def _sha256(files: tuple[tuple[str, int, int], ...]) -> str:
    """sha256 over the contents of ``files``; size and time stamps in the key make an edited file count anew."""
    parts = [f"{Path(path).name} {sha256(Path(path))}" for path, _, _ in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return str(error).strip().splitlines()[0]


def what_can_be_had(name: str, reason: str) -> str:
    """A message that names the model, why it cannot be had, and every model that can."""
    near = difflib.get_close_matches(name, [*embedded(), *PACKAGED], n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    lines = [f"model {name!r} {reason}.{guess}", "What can be had:"]
    lines += [f"  {own}: comes with the kit" for own in embedded()]
    for model in available():
        state = "installed" if model.installed else model.how
        lines.append(f"  {model.name}: {model.kind}; {model.licence}; {state}")
    lines.append("  a local folder with config.json, tokenizer files and *.safetensors, or one of PEFT adapters")
    lines.append("  owner/model: an id on the Hugging Face Hub (needs a network, or a model already in its cache)")
    return "\n".join(lines)
