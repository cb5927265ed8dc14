"""Where a model's files are: the kit's own, packaged weights, a local folder, or a Hub id, and what identifies them.

Packaged models travel as GGUF files inside ordinary Python packages, so they need no model hub. They are
dequantised once into a local safetensors folder; after that they load in a second or two, like any other folder.
Imports no torch: the runner asks for digests without it.
"""

import difflib
import hashlib
from pathlib import Path

from huggingface_hub.errors import LocalEntryNotFoundError

from adaptlab import paths
from adaptlab.engine import packaged
from adaptlab.engine.packaged import PACKAGED, Packaged
from adaptlab.engine.seal import FILES, folder_digest
from adaptlab.files import read_json

ADAPTER_CONFIG = "adapter_config.json"  # PEFT's


class ModelNotFound(LookupError):
    """The named model cannot be had here, or cannot be used; the message says why, and what to do."""


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
        model = PACKAGED[name]
        if not (model.ready or model.installed):
            raise ModelNotFound(what_can_be_had(name, f"needs a package: {model.how}"))
        return packaged.converted(model)
    if (Path(name) / "config.json").is_file() or (Path(name) / ADAPTER_CONFIG).is_file():
        return Path(name)
    if name.count("/") == 1 and not Path(name).is_absolute() and not name.startswith("."):
        try:
            return packaged.downloaded(name, FILES)
        except LocalEntryNotFoundError as error:
            problem = "could not be had from the Hub: it is not in the cache on this machine, and there is no network"
            raise ModelNotFound(what_can_be_had(name, problem)) from error
        except (OSError, ValueError) as error:
            raise ModelNotFound(what_can_be_had(name, f"could not be had from the Hub: {first_line(error)}")) from error
    raise ModelNotFound(
        what_can_be_had(name, "is neither a model of the kit, a packaged one, a model folder, nor a Hub id")
    )


def digest(name: str) -> str:
    """What identifies a model in results.

    For a packaged model the pinned sha256 of its GGUF file: what it was converted to is checked when it is loaded. For
    a folder the sha256 over its weights, configuration and tokenizer; for adapters, over theirs and their model's.
    """
    if name in PACKAGED:
        return PACKAGED[name].sha256
    folder = prepare(name)
    own = folder_digest(folder)
    if (folder / ADAPTER_CONFIG).is_file():
        return hashlib.sha256(f"{digest(base_of(folder))} {own}".encode()).hexdigest()
    return own


def base_of(folder: Path) -> str:
    """The name of the model that the adapters of a folder belong to. Raises `ModelNotFound` where none is told."""
    try:
        named = read_json((folder / ADAPTER_CONFIG).read_bytes()).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise ModelNotFound(f"{folder / ADAPTER_CONFIG} could not be read: {first_line(error)}") from error
    if not isinstance(named, str) or not named or (Path(named) / ADAPTER_CONFIG).is_file():
        raise ModelNotFound(f"{folder / ADAPTER_CONFIG}: base_model_name_or_path must name a model; found {named!r}")
    return named


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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
