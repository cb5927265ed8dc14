"""Load a causal language model by name: the kit's own, packaged weights, a local folder, or a Hub id."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from adaptlab.engine import adapters, packaged, plain
from adaptlab.engine.checkpoints import FileDamaged, opened
from adaptlab.engine.folders import ADAPTER_CONFIG, ModelNotFound, base_of, digest, first_line, prepare
from adaptlab.engine.lm import LM, check_weights, sees_ahead
from adaptlab.engine.seal import SEAL, damaged

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
OPTIONS = {"trust_remote_code": False, "local_files_only": True}
TEMPLATE = "chat_template.jinja"


class UnknownDevice(ValueError):
    """There is no such device here."""


def load(name: str, device: str = "auto", dtype: str = "auto") -> LM:
    """Load a model, in evaluation mode.

    ``device``: a torch device, or ``auto`` for CUDA, Apple MPS, or the CPU, whichever there is first.
    ``dtype``: ``float32``, ``bfloat16``, ``float16``, or ``auto``: float32 on a CPU, where results are compared
    to four decimals, else bfloat16. Weights are read from safetensors only, and no remote code is run. A folder of
    adapters is loaded together with the model that it names, and with its own tokenizer, if it has one.

    Raises `ModelNotFound` as `prepare` does, for a damaged folder, for weights that are missing, foreign, of other
    shapes, quantised, NaN or infinite, and for a model that is not causal.
    """
    place = device_named(device)
    number = _dtype(dtype, place)
    folder = prepare(name)
    _check_files(folder)
    if (folder / ADAPTER_CONFIG).is_file():
        base = load(base_of(folder), device, dtype)
        return adapters.attached(_retokenized(base, folder), folder, name, digest(name))
    try:
        tokenizer, model = _read(folder, place, number)
    except ModelNotFound:
        raise
    except Exception as error:  # whatever transformers says of files, settings and libraries that it cannot do with
        raise ModelNotFound(f"{folder} could not be loaded: {first_line(error)}; save or fetch it again") from error
    # Decoding is the caller's choice: a repetition penalty or a top-p that the model's files bring along would join in.
    ends = model.generation_config.eos_token_id
    model.generation_config = GenerationConfig(eos_token_id=ends)
    return _with_padding(LM(name, model, tokenizer, digest(name)))


def _retokenized(base: LM, folder: Path) -> LM:
    """The model with the tokenizer, the chat template and the end token of the folder of its adapters, if they came
    with some of their own."""
    if any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        base = replace(base, tokenizer=_tokenizer(folder))
        base.model.generation_config.eos_token_id = sorted({*plain.ends(base), base.tokenizer.eos_token_id} - {None})
        return _with_padding(base)
    if (folder / TEMPLATE).is_file():
        base.tokenizer.chat_template = (folder / TEMPLATE).read_text(encoding="utf-8")
    return base


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        with packaged.quiet():
            return AutoTokenizer.from_pretrained(folder, **OPTIONS)
    except Exception as error:  # as above
        raise ModelNotFound(f"the tokenizer in {folder} could not be loaded: {first_line(error)}") from error


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
    with packaged.quiet():
        config = AutoConfig.from_pretrained(folder, **OPTIONS)
        if config.is_encoder_decoder:
            raise ModelNotFound(f"{folder} holds an encoder-decoder ({config.model_type}); a causal model is needed")
        if getattr(config, "quantization_config", None) is not None:
            raise ModelNotFound(
                f"{folder} holds quantised weights ({_method(config)}); take the model in full precision"
            )
        config._attn_implementation = None  # the plain kind: a config can name a kernel on a hub, which is code
        config._experts_implementation = None
        tokenizer = _tokenizer(folder)
        more = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
        model, found = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=dtype, **OPTIONS, **more)
        misfitting = [key for key, *_ in found["mismatched_keys"]]
        parameters = dict(model.to(device).eval().named_parameters())
        check_weights(folder, parameters, found["missing_keys"], found["unexpected_keys"], misfitting)
        if sees_ahead(model):
            raise ModelNotFound(
                f"{folder} holds a {config.model_type} that sees later tokens; a causal model is needed"
            )
    return tokenizer, model


def _method(config: PretrainedConfig) -> str:
    """The name of the quantisation in a config."""
    given = config.quantization_config
    return str(given.get("quant_method") if isinstance(given, dict) else getattr(given, "quant_method", given))


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


def _with_padding(lm: LM) -> LM:
    _separate_pad(lm.tokenizer, lm.vocabulary)
    lm.model.config.pad_token_id = lm.model.generation_config.pad_token_id = lm.tokenizer.pad_token_id
    return lm


def _separate_pad(tokenizer: PreTrainedTokenizerBase, vocabulary: int = sys.maxsize) -> None:
    """Give padding a token of its own that the model has: where pad is EOS, masking the padding would also mask the end
    token."""
    taken = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token}
    if tokenizer.pad_token is not None and tokenizer.pad_token not in taken and tokenizer.pad_token_id < vocabulary:
        return
    added = tokenizer.added_tokens_decoder.items()
    special = [str(t) for n, t in added if t.special and str(t) not in taken and n < vocabulary]
    named = [t for t in special if "pad" in t.lower()]
    if named or special:
        tokenizer.pad_token = (named or special)[-1]
    else:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
