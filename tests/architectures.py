"""Every causal architecture that transformers knows, made so small that it takes a second: folders to load and score.

One table of small sizes fits almost all configs, since they share their fields' names; what an architecture needs
beyond that stands in `MORE`. Weights are random and large enough that a wrong mask or position shows.
"""

import dataclasses
import inspect
from pathlib import Path

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from conftest import tiny_tokenizer

MOST = 6_000_000  # parameters of a model that is still small; larger ones cannot be shrunk by their fields
ROOM = dict.fromkeys(("max_position_embeddings", "n_positions", "seq_length", "n_ctx", "max_seq_len"), 256)
WIDTH = dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "n_embed", "word_embed_proj_dim"), 32)
INNER = dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "decoder_ffn_dim", "d_ff"), 48)
LAYERS = dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 2)
HEADS = dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4)
EXPERTS = dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4)
CHOSEN = dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k"), 2)
EXPERT = dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size", "shared_expert_intermediate_size"), 16)
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
STATE = {"state_size": 4, "mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1}
SMALL = {
    **(ROOM | WIDTH | INNER | LAYERS | HEADS | EXPERTS | CHOSEN | EXPERT | LATENT | STATE),
    **{"num_key_value_heads": 2, "head_dim": 8, "rotary_dim": 8, "sliding_window": 8, "mamba_chunk_size": 16},
    **{"n_shared_experts": 1, "n_group": 1, "topk_group": 1, "embedding_size": 32, "lru_width": 32},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "is_decoder": True},
}
# Latent attention has no fewer heads for keys; a model without any attention layer is no hybrid.
_LATENT = "axk1 axk2 deepseek_v2 deepseek_v3 deepseek_v32 glm4_moe_lite glm_moe_dsa longcat_flash minicpm3".split()
_LINEAR = "qwen3_next qwen3_5_text qwen3_5_moe_text qwen4_exp_text".split()
_MAMBA = {"layer_types": ["mamba", "attention"]}
MORE = {
    **{kind: {"num_key_value_heads": 4} for kind in (*_LATENT, "youtu", "dots3_note_text")},
    **{kind: {"layer_types": ["linear_attention", "full_attention"]} for kind in _LINEAR},
    "bailing_hybrid": {"layer_types": ["linear_attention", "full_attention"], "num_key_value_heads": 4},
    "bamba": {"attn_layer_indices": [1]},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "granitemoehybrid": _MAMBA,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"], "num_key_value_heads": 4},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "lfm3": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "n_groups": 1},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"layer_types": ["mamba", "hybrid", "mamba", "hybrid"], "num_hidden_layers": 4},
    "zamba2": {"layer_types": ["mamba", "hybrid"], "num_mem_blocks": 1, "hybrid_layer_ids": [1]},
    "zaya": {"num_experts_per_tok": 1},
}


def config(kind: str) -> PretrainedConfig:
    """The small config of a model type."""
    made = CONFIG_MAPPING[kind]
    fields = set(inspect.signature(made.__init__).parameters)
    fields |= {field.name for field in dataclasses.fields(made)} if dataclasses.is_dataclass(made) else set()
    sizes = SMALL | {"vocab_size": len(tiny_tokenizer())}
    return made(**{name: value for name, value in sizes.items() if name in fields} | MORE.get(kind, {}))


def kinds() -> list[str]:
    """Every model type whose class for causal language models transformers names."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def write_folder(kind: str, folder: Path) -> None:
    """Write a random model of this type with a tokenizer. Raises ValueError where it cannot be made small."""
    small = config(kind)
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(small).parameters())
    if size > MOST:
        raise ValueError(f"{size:,} parameters")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(small).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
