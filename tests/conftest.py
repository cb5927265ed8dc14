"""Tiny random models of every supported architecture: exact answers in milliseconds, nothing to download."""

import os

# Before torch is imported: a stray look at a hub must fail, not wait.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from hypothesis import HealthCheck, settings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from adaptlab.engine.lm import LM

# How long an example takes to draw or to run says something about the machine, nothing about the code.
settings.register_profile("adaptlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("adaptlab")

TEXT = [
    "the red house stands by the river and the blue house by the road",
    "message: my order is late\ndesk: delivery\n\nmessage: the chain slips\ndesk: repair\n\n",
    "question answer option one two three four yes no a b c d",
]
SIZE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "attn_implementation": "sdpa",
}
WINDOW = 7
ARCHITECTURES = {
    "llama": ("LlamaConfig", SIZE),
    "llama-stray-window": ("LlamaConfig", {**SIZE, "sliding_window": WINDOW}),
    "mistral-sliding": ("MistralConfig", {**SIZE, "sliding_window": WINDOW}),
    "qwen2": ("Qwen2Config", SIZE),
    "qwen2-sliding": (
        "Qwen2Config",
        {**SIZE, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {**SIZE, "head_dim": 8}),
    "gpt2": (
        "GPT2Config",
        {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 256, "attn_implementation": "sdpa"},
    ),
    "gemma3-sliding": (
        "Gemma3TextConfig",
        {
            **SIZE,
            "head_dim": 8,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention"] * 2 + ["full_attention"],
        },
    ),
    "llama-eager": ("LlamaConfig", {**SIZE, "attn_implementation": "eager"}),
    "gemma3-eager": (
        "Gemma3TextConfig",
        {**SIZE, "head_dim": 8, "sliding_window": WINDOW, "attn_implementation": "eager"},
    ),
}
UNSUPPORTED = {
    "llama-longrope": (
        "LlamaConfig",
        {
            **SIZE,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0] * 4,
                "long_factor": [4.0] * 4,
                "original_max_position_embeddings": 16,
                "factor": 16.0,
            },
        },
    ),
    "mamba": ("MambaConfig", {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2}),
    "bloom-alibi": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
}

# What can happen to a safetensors file.
DAMAGE = {
    "a flipped bit in the body": lambda data: data[:-50] + bytes([data[-50] ^ 64]) + data[-49:],
    "a broken header": lambda data: data[:9] + b"\xff" + data[10:],
    "cut": lambda data: data[:-7],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
}


def tiny_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE with real merges: any text round-trips, and tokens do merge across word seams."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=sorted(alphabet), special_tokens=["<pad>", "<eos>"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def tiny_lm(architecture: str, seed: int = 0) -> LM:
    """A randomly initialised model whose logits are far from flat, so that a wrong mask shows."""
    name, sizes = (ARCHITECTURES | UNSUPPORTED)[architecture]
    tokenizer = tiny_tokenizer()
    sizes = dict(sizes)
    attention = sizes.pop("attn_implementation", None)
    config = getattr(transformers, name)(
        vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=1, **sizes
    )
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return LM(architecture, model, tokenizer, f"tiny-{architecture}-{seed}")


@pytest.fixture(scope="session", params=sorted(ARCHITECTURES))
def any_lm(request) -> LM:
    return tiny_lm(request.param)


@pytest.fixture(scope="session")
def llama() -> LM:
    return tiny_lm("llama")
