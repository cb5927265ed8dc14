"""The playground: one page that holds a study model and runs it where the page is read, without a server or a network.

Weights, tokenizer, texts, style and scripts stand in the file. Its policy names the digests of its style and its two
scripts; nothing else runs, and nothing is fetched.
"""

import base64
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

import adaptlab as al
from adaptlab import paths
from adaptlab.engine import folders
from adaptlab.engine.lm import LM
from adaptlab.files import write_text
from adaptlab.runner import pages, playground_content
from adaptlab.runner.playground_content import Twin
from adaptlab.runner.provenance import NUMERIC_PACKAGES, OutputRefused, digests, versions

NAME = "playground.html"
MARK = '<meta name="generator" content="adaptlab playground'
NATS = 1e-3  # mean KL a token: as far as weights of one byte may move the model
Tensors = Mapping[str, torch.Tensor]


class UnfitModel(ValueError):
    """The page's forward pass is not that of the model."""


def write(out: Path | None = None, *, model: str = "study") -> Path:
    """Write the page to ``out`` (``build/report/playground.html``), unless it is there as it would be written; returns
    its path.

    Raises `OutputRefused` for a place that holds anything but a playground, and `UnfitModel`.
    """
    out = Path(out or paths.BUILD / "report" / NAME)
    if os.path.lexists(out) and not is_one(out):
        raise OutputRefused(f"{out}: is there, and is no playground; name another place, or move it away")
    key = _key(model)
    if not is_one(out, key):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, page(al.load(model, device="cpu", dtype="float32"), key))
    return out


def is_one(path: Path, key: str = "") -> bool:
    """Whether a file is a playground; of this very key, where one is given."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        beginning = file.read(2000).decode(errors="replace")
    return (f'{MARK} {key}"' if key else MARK) in beginning


def _key(model: str) -> str:
    """sha256 over all that the page depends on: the package with its templates, wordings, the model, versions."""
    sources = [path for ending in ("py", "js", "css", "j2") for path in paths.PACKAGE.rglob(f"*.{ending}")]
    wordings = digests(paths.DATA, (paths.DATA / "templates").iterdir())
    facts = [digests(paths.PACKAGE, sources), wordings, folders.digest(model), versions(NUMERIC_PACKAGES)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def page(lm: LM, key: str = "") -> str:
    """The page of a model. Raises `UnfitModel`."""
    content, twins = playground_content.texts(lm), playground_content.twins(lm)
    base = weights_of(lm)
    adapters = {f"{twin.id}/{name}": tensor for twin in twins for name, tensor in adapter_of(twin.lm).items()}
    nats = divergence(lm, rounded(base), playground_content.sample_of_texts(content))
    small = nats <= NATS
    blob, index = packed(base | adapters, one_byte=set(base) if small else ())
    data = {
        "config": config_of(lm),
        "tokenizer": tokenizer_of(lm),
        "index": index,
        "twins": [_described(twin) for twin in twins],
        **content,
    }
    facts = {
        "name": lm.name,
        "parameters": sum(tensor.numel() for tensor in base.values()),
        "layers": data["config"]["layers"],
        "context": lm.context_length,
        "digest": lm.digest,
        "version": importlib.metadata.version("adaptlab"),
        "stored": "one byte each, with a scale for each row" if small else "bfloat16, as they are published",
        "nats": nats if small else None,
    }
    css, transformer, script = (
        Markup(_source(name)) for name in (("report.css", "playground.css"), ("transformer.js",), ("playground.js",))
    )
    return pages.render(
        "playground.html.j2",
        mark=Markup(f'{MARK} {key}">'),
        policy=policy(css, transformer, script),
        css=css,
        transformer=transformer,
        script=script,
        facts=facts,
        data=Markup(json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")),
        weights=base64.b64encode(blob).decode(),
    )


def _source(names: Iterable[str]) -> str:
    folder = Path(__file__).with_name("templates")
    return "\n" + "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def policy(style: str, *scripts: str) -> str:
    """A content security policy under which these run, and nothing else does."""

    def named(*texts: str) -> str:
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts)

    return (
        f"default-src 'none'; script-src {named(*scripts)}; style-src {named(style)}; connect-src 'none'; "
        "base-uri 'none'; form-action 'none'"
    )


# --- the model as the page needs it -----------------------------------------------------------------------------------


def config_of(lm: LM) -> dict[str, Any]:
    """The sizes that the forward pass asks for. Raises `UnfitModel` for an architecture that it is not that of."""
    config = lm.model.config
    rope = config.rope_parameters
    fits = {
        "a Llama": config.model_type == "llama",
        "SiLU": config.hidden_act == "silu",
        "tied embeddings": config.tie_word_embeddings,
        "plain rotary embeddings": rope["rope_type"] == "default",
        "no biases": not (config.attention_bias or config.mlp_bias),
    }
    if missing := [what for what, there in fits.items() if not there]:
        raise UnfitModel(f"{lm.name}: the playground needs {', '.join(missing)}; take a study model")
    return {
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "keyHeads": config.num_key_value_heads,
        "headSize": config.head_dim,
        "theta": rope["rope_theta"],
        "epsilon": config.rms_norm_eps,
        "context": lm.context_length,
        "eos": lm.tokenizer.eos_token_id,
    }


def tokenizer_of(lm: LM) -> dict[str, Any]:
    """Tokens by id, merges by rank, and the special tokens. Raises `UnfitModel` for anything but byte-level BPE."""
    files = json.loads(lm.tokenizer.backend_tokenizer.to_str())
    bpe, cut = files["model"], files["pre_tokenizer"]
    whole = bpe["type"] == "BPE" and cut == {**cut, "type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    if not whole or files["normalizer"]:
        raise UnfitModel(f"{lm.name}: the playground needs byte-level BPE; take a study model")
    return {
        "tokens": lm.tokenizer.convert_ids_to_tokens(range(len(lm.tokenizer))),
        "merges": [pair if isinstance(pair, str) else " ".join(pair) for pair in bpe["merges"]],
        "special": [token["content"] for token in files["added_tokens"]],
        "bos": lm.tokenizer.bos_token_id,
    }


def weights_of(lm: LM) -> dict[str, torch.Tensor]:
    """All weights by name. The head is the embedding again, and left out."""
    return {name: tensor for name, tensor in lm.model.state_dict().items() if name != "lm_head.weight"}


def adapter_of(lm: LM) -> dict[str, torch.Tensor]:
    """The two thin matrices of each adapted one: name of the matrix, with .A or .B."""
    found = {}
    for name, part in lm.model.named_modules():
        if hasattr(part, "lora_A"):
            for letter in "AB":
                found[f"{name}.{letter}"] = getattr(part, f"lora_{letter}")["default"].weight.detach()
    return found


def _described(twin: Twin) -> dict[str, Any]:
    learned = sorted({name.rpartition(".")[0] for name in adapter_of(twin.lm)})
    scale = playground_content.LORA.alpha / playground_content.LORA.rank
    told = {name: getattr(twin, name) for name in ("id", "name", "panel", "about", "texts")}
    return told | {"learned": learned, "scale": scale}


# --- weights as bytes -------------------------------------------------------------------------------------------------


def packed(tensors: Tensors, one_byte: Iterable[str] = ()) -> tuple[bytes, list[dict[str, Any]]]:
    """Tensors behind one another, little-endian, and an index of them: bfloat16, or for the matrices among ``one_byte``
    a float32 for each row and a byte for each number."""
    blob, index, small = bytearray(), [], set(one_byte)
    for name, tensor in tensors.items():
        rows, columns = tensor.shape if tensor.ndim == 2 else (1, len(tensor))
        form = "int8" if name in small and tensor.ndim == 2 else "bf16"
        blob += bytes(-len(blob) % 4)  # where a typed array may begin
        index.append({"name": name, "rows": rows, "columns": columns, "format": form, "offset": len(blob)})
        if form == "int8":
            numbers, scales = in_one_byte(tensor)
            blob += scales.numpy().astype("<f4").tobytes() + numbers.numpy().tobytes()
        else:
            blob += tensor.to(torch.bfloat16).contiguous().view(torch.int16).numpy().astype("<i2").tobytes()
    return bytes(blob), index


def unpacked(blob: bytes, index: Iterable[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """What the page reads from the bytes, as float32: the inverse of `packed`, up to its rounding."""
    found = {}
    for one in index:
        rows, columns, start = one["rows"], one["columns"], one["offset"]
        size = rows * columns
        if one["format"] == "int8":
            scales = np.frombuffer(blob, "<f4", rows, start).copy()
            numbers = np.frombuffer(blob, np.int8, size, start + 4 * rows).reshape(rows, columns)
            found[one["name"]] = torch.from_numpy(numbers * scales[:, None])
        else:
            halves = np.frombuffer(blob, "<i2", size, start).copy()
            found[one["name"]] = torch.from_numpy(halves).view(torch.bfloat16).float().reshape(rows, columns)
    return found


def in_one_byte(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(whole numbers from -127 to 127, the scale of each row)."""
    scales = matrix.abs().amax(1).clamp_min(1e-12) / 127
    return (matrix / scales[:, None]).round().to(torch.int8), scales


def rounded(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The tensors as they are behind storage in one byte a number; vectors stay as they are."""
    found = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            numbers, scales = in_one_byte(tensor)
            found[name] = numbers.float() * scales[:, None]
    return found


@torch.inference_mode()
def divergence(lm: LM, changed: Tensors, texts: Iterable[str]) -> float:
    """KL of the model from the same with other weights: nats a token, the mean over the tokens of texts."""
    rows = [torch.tensor([lm.encode(text)]) for text in texts]
    before = [lm.model(row).logits[0].log_softmax(-1) for row in rows]
    after = [torch.func.functional_call(lm.model, dict(changed), (row,)).logits[0].log_softmax(-1) for row in rows]
    each = [(one.exp() * (one - other)).sum(-1) for one, other in zip(before, after, strict=True)]
    return float(torch.cat(each).mean())
