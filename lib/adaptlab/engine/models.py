"""Load a causal language model by name: the kit's own, packaged weights, a local folder, or a Hub id.

Packaged models travel as GGUF files inside ordinary Python packages, so they need no model hub. They are
dequantised once into a local safetensors folder; after that they load in a second or two, like any other folder.
"""

import hashlib
import json
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from adaptlab import paths
from adaptlab.engine import adapters, packaged
from adaptlab.engine.checkpoints import FileDamaged, opened
from adaptlab.engine.lm import FILES, LM, SEAL, ModelNotFound, check_weights, damaged, folder_digest, sees_ahead
from adaptlab.engine.packaged import PACKAGED, Packaged

ADAPTER_CONFIG = "adapter_config.json"  # PEFT's
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


# What transformers raises for files, settings and libraries that it cannot do with.
UNREADABLE = (OSError, ValueError, RuntimeError, ImportError, TypeError, AttributeError, KeyError, IndexError)


class UnknownDevice(ValueError):
    """There is no such device here."""


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
            raise ModelNotFound(_what_can_be_had(name, f"needs a package: {model.how}"))
        return packaged.converted(model)
    if (Path(name) / "config.json").is_file() or (Path(name) / ADAPTER_CONFIG).is_file():
        return Path(name)
    if name.count("/") == 1 and not Path(name).is_absolute() and not name.startswith("."):
        try:
            return packaged.downloaded(name, FILES)
        except (OSError, ValueError) as error:
            raise ModelNotFound(
                _what_can_be_had(name, f"could not be had from the Hub: {_first_line(error)}")
            ) from error
    raise ModelNotFound(
        _what_can_be_had(name, "is neither a model of the kit, a packaged one, a model folder, nor a Hub id")
    )


def load(name: str, device: str = "auto", dtype: str = "auto") -> LM:
    """Load a model, in evaluation mode.

    ``device``: a torch device, or ``auto`` for CUDA, Apple MPS, or the CPU, whichever there is first.
    ``dtype``: ``float32``, ``bfloat16``, ``float16``, or ``auto``: float32 on a CPU, where results are compared
    to four decimals, else bfloat16. Weights are read from safetensors only, and no remote code is run. A folder of
    adapters is loaded together with the model that it names.

    Raises `ModelNotFound` as `prepare` does, for a damaged folder, for weights that are missing, foreign, of other
    shapes, NaN or infinite, and for a model that is not causal.
    """
    place = device_named(device)
    number = _dtype(dtype, place)
    folder = prepare(name)
    _check_files(folder)
    if (folder / ADAPTER_CONFIG).is_file():
        return adapters.attached(load(base_of(folder), device, dtype), folder, name, digest(name))
    try:
        tokenizer, model = _read(folder, place, number)
    except UNREADABLE as error:
        raise ModelNotFound(_what_can_be_had(name, f"could not be loaded: {_first_line(error)}")) from error
    _separate_pad(tokenizer)
    model.config.pad_token_id = tokenizer.pad_token_id
    # Decoding is the caller's choice: a repetition penalty or a top-p that the model's files bring along would join in.
    ends = model.generation_config.eos_token_id
    model.generation_config = GenerationConfig(pad_token_id=tokenizer.pad_token_id, eos_token_id=ends)
    return LM(name, model, tokenizer, digest(name))


def _check_files(folder: Path) -> None:
    """Raise `ModelNotFound` for a cut or damaged file."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with opened(file):
                pass
        except FileDamaged as error:
            raise ModelNotFound(f"{error}; save or fetch it again") from error
    if damaged(folder):
        raise ModelNotFound(
            f"the files in {folder} are not those that {SEAL} was written for: restore them, or delete {SEAL} if you "
            "changed them on purpose"
        )


def _read(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Tokenizer and model of a folder, if the model is whole and causal."""
    options = {"trust_remote_code": False, "local_files_only": True}
    with packaged.quiet():
        config = AutoConfig.from_pretrained(folder, **options)
        if config.is_encoder_decoder:
            raise ModelNotFound(f"{folder} holds an encoder-decoder ({config.model_type}); a causal model is needed")
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        options |= {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
        model, found = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **options)
        misfitting = [key for key, *_ in found["mismatched_keys"]]
        parameters = dict(model.to(device).eval().named_parameters())
        check_weights(folder, parameters, found["missing_keys"], found["unexpected_keys"], misfitting)
        if sees_ahead(model):
            raise ModelNotFound(
                f"{folder} holds a {config.model_type} that sees later tokens; a causal model is needed"
            )
    return tokenizer, model


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
        named = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise ModelNotFound(f"{folder / ADAPTER_CONFIG} could not be read: {_first_line(error)}") from error
    if not isinstance(named, str) or not named or (Path(named) / ADAPTER_CONFIG).is_file():
        raise ModelNotFound(f"{folder / ADAPTER_CONFIG}: base_model_name_or_path must name a model; found {named!r}")
    return named


def device_named(device: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA, Apple MPS or the CPU, whichever there is first.

    Raises ValueError where torch knows no such device, or this machine has none.
    """
    if device != "auto":
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise UnknownDevice(
                f"device must be cpu, cuda, mps or auto, and there; {device!r}: {_first_line(error)}"
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {['auto', *DTYPES]}, not {dtype!r}")
    return DTYPES[dtype]


def _separate_pad(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give padding a token of its own: where pad is EOS, masking the padding also masks the end token, which is to be learned."""
    taken = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token}
    if tokenizer.pad_token is not None and tokenizer.pad_token not in taken:
        return
    special = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special and str(t) not in taken]
    named = [t for t in special if "pad" in t.lower()]
    if named or special:
        tokenizer.pad_token = (named or special)[-1]
    else:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _what_can_be_had(name: str, reason: str) -> str:
    lines = [f"model {name!r} {reason}.", "What can be had:"]
    lines += [f"  {own}: comes with the kit" for own in embedded()]
    for model in available():
        state = "installed" if model.installed else model.how
        lines.append(f"  {model.name}: {model.kind}; {model.licence}; {state}")
    lines.append("  a local folder with config.json, tokenizer files and *.safetensors, or one of PEFT adapters")
    lines.append("  owner/model: an id on the Hugging Face Hub (needs a network, or a model already in its cache)")
    return "\n".join(lines)
