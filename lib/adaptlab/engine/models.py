"""Load a causal language model by name: the kit's own, packaged weights, a local folder, or a Hub id."""

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

from adaptlab.engine import adapters, packaged
from adaptlab.engine.checkpoints import FileDamaged, opened
from adaptlab.engine.folders import ADAPTER_CONFIG, ModelNotFound, base_of, digest, first_line, prepare, what_can_be_had
from adaptlab.engine.lm import LM, check_weights, sees_ahead
from adaptlab.engine.seal import SEAL, damaged

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What transformers raises for files, settings and libraries that it cannot do with.
UNREADABLE = (OSError, ValueError, RuntimeError, ImportError, TypeError, AttributeError, KeyError, IndexError)


class UnknownDevice(ValueError):
    """There is no such device here."""


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
        raise ModelNotFound(what_can_be_had(name, f"could not be loaded: {first_line(error)}")) from error
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


def device_named(device: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA, Apple MPS or the CPU, whichever there is first.

    Raises ValueError where torch knows no such device, or this machine has none.
    """
    if device != "auto":
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            said = f"device must be cpu, cuda, mps or auto, and there; {device!r}: {first_line(error)}"
            raise UnknownDevice(said) from error
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
    """Give padding a token of its own: where pad is EOS, masking the padding would also mask the end token."""
    taken = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token}
    if tokenizer.pad_token is not None and tokenizer.pad_token not in taken:
        return
    special = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special and str(t) not in taken]
    named = [t for t in special if "pad" in t.lower()]
    if named or special:
        tokenizer.pad_token = (named or special)[-1]
    else:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
