"""Which parameters train: all, the top layers, or LoRA adapters (PEFT) beside frozen weights.

LoRA: Hu et al. 2021, arXiv 2106.09685. Adapters have PEFT's own format: ``PeftModel.from_pretrained`` loads what is
saved here, and `adaptlab.engine.models.load` loads what others trained.
"""

import copy
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME as WEIGHTS
from transformers.pytorch_utils import Conv1D

from adaptlab.engine.checkpoints import opened
from adaptlab.engine.folders import ModelNotFound
from adaptlab.engine.lm import LM, MODIFIED, Named, check_weights
from adaptlab.engine.seal import RECORD, seal
from adaptlab.files import whole_folder, write_text

ADAPTER = "default"  # PEFT's name for the one adapter of a model


@dataclass(frozen=True)
class Full:
    """Train the weights themselves: all of them, or those of the top ``layers``."""

    layers: int = 0

    def __str__(self) -> str:
        return f"top {self.layers} layers" if self.layers else "full"


@dataclass(frozen=True)
class Lora:
    """Train adapters of a ``rank`` beside every linear map, of all layers or of the top ``layers``; their sum is
    scaled by ``alpha / rank``."""

    rank: int = 8
    alpha: int = 16
    layers: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0:
            raise ValueError(f"rank must be at least 1 and alpha above 0; found rank={self.rank}, alpha={self.alpha}")

    def __str__(self) -> str:
        return f"LoRA {self.rank}" + (f", top {self.layers} layers" if self.layers else "")


Trainable = Full | Lora


@dataclass(frozen=True)
class Adapted(LM):
    """A model with adapters in place; ``adapter`` is PEFT's view of it, to save, or to switch off for a while.
    ``base_digest`` identifies the weights that they were trained beside."""

    adapter: PeftModel
    base_digest: str


def prepare_for_training(lm: LM, trainable: Trainable, seed: int) -> LM:
    """A copy of the model in which ``trainable`` requires gradients, and nothing else does; ``lm`` stays as it is.

    A copy with adapters shares the frozen weights with ``lm``, and costs next to no memory; ``seed`` draws the first
    adapters. Adapters that the model has already are merged first. Weights that train are float32: in fewer digits,
    small steps are lost. Raises ValueError where the model has fewer layers.
    """
    if isinstance(lm, Adapted):
        lm = merged(lm)
    depth = lm.model.config.get_text_config().num_hidden_layers
    if not 0 <= trainable.layers <= depth:
        raise ValueError(f"layers must be 0 (all) to {depth} for {lm.name}; found {trainable.layers}")
    top = list(range(depth - trainable.layers, depth)) if trainable.layers else None
    return _weights(lm, top) if isinstance(trainable, Full) else _adapters(lm, trainable, top, seed)


def _weights(lm: LM, top: list[int] | None) -> LM:
    model = copy.deepcopy(lm.model).float()
    stack = next(part for part in model.base_model.modules() if isinstance(part, torch.nn.ModuleList))
    model.requires_grad_(top is None)
    for number in top or ():
        stack[number].requires_grad_(True)
    return replace(lm, model=model)


def _adapters(lm: LM, lora: Lora, top: list[int] | None, seed: int) -> Adapted:
    # The same storage under new names: PEFT freezes what it is given.
    shared = {id(p): torch.nn.Parameter(p.detach(), requires_grad=False) for p in lm.model.parameters()}
    model = copy.deepcopy(lm.model, shared)
    head = model.get_output_embeddings()
    linear = torch.nn.Linear | Conv1D
    maps = {n.rsplit(".", 1)[-1] for n, part in model.named_modules() if isinstance(part, linear) and part is not head}
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=sorted(maps),
        layers_to_transform=top,
        fan_in_fan_out=any(isinstance(part, Conv1D) for part in model.modules()),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(seed)
        adapter = get_peft_model(model, config)
    adapter.peft_config[ADAPTER].base_model_name_or_path = lm.name
    return Adapted(lm.name, adapter.get_base_model(), lm.tokenizer, lm.digest, adapter, lm.digest)


def attached(base: LM, folder: Path, name: str, digest: str) -> Adapted:
    """``base`` with the adapters of a folder, which were trained for it; ``name`` and ``digest`` are the result's.

    Raises `ModelNotFound` for adapters that do not fit the model, or that are not whole.
    """
    if not (folder / WEIGHTS).is_file():
        raise ModelNotFound(f"{folder} has no {WEIGHTS}: adapters come as safetensors or not at all")
    with opened(folder / WEIGHTS) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    _make_room(base, tensors)
    try:
        with _quiet():
            adapter = PeftModel.from_pretrained(base.model, folder, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise ModelNotFound(f"the adapters in {folder} could not be loaded: {error}") from error
    if adapter.active_peft_config.is_prompt_learning:
        raise ModelNotFound(f"{folder} holds a learned prompt, which stands beside no weights: use PEFT itself for it")
    wanted = get_peft_model_state_dict(adapter, save_embedding_layers=False).keys()
    foreign = tensors.keys() - wanted - adapter.state_dict().keys()
    check_weights(folder, tensors, wanted - tensors.keys(), foreign)
    return Adapted(name, adapter.get_base_model().eval(), base.tokenizer, digest, adapter, base.digest)


def _make_room(base: LM, tensors: Named) -> None:
    """Give the model as many rows for tokens as adapters bring embeddings along for: new tokens came with them."""
    own = base.model.get_input_embeddings().weight
    name = next(name for name, parameter in base.model.named_parameters() if parameter is own)
    rows = max((len(tensor) for key, tensor in tensors.items() if key.endswith(f".{name}")), default=0)
    if rows > len(own):
        base.model.resize_token_embeddings(rows, mean_resizing=False)


def merged(lm: Adapted) -> LM:
    """A copy of the model with the adapters added to its weights (in their own precision)."""
    model = copy.deepcopy(lm.adapter).merge_and_unload()
    return LM(lm.name, model.eval(), lm.tokenizer, f"{MODIFIED} {lm.digest}")


@contextmanager
def _quiet() -> Iterator[None]:
    """PEFT asks transformers for gradient checkpointing by a name that is going away, and only warns of missing keys,
    which `check_weights` refuses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        warnings.filterwarnings("ignore", "Found missing adapter keys")
        yield


def save(lm: LM, folder: Path, record: dict, *, merge: bool = False) -> None:
    """Write adapters in PEFT's format, or the whole model in that of transformers; and ``record``, what the run was.

    ``merge``: adapters are added to the weights, and the whole model is written.

    The folder appears whole, and `models.load` notices later damage. Raises FileExistsError where there is one already,
    and ValueError for adapters beside weights that were tuned before, since no name leads to those.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; name a new folder")
    if merge and isinstance(lm, Adapted):
        lm = merged(lm)
    if isinstance(lm, Adapted) and lm.base_digest.startswith(MODIFIED):
        raise ValueError(
            f"these adapters belong to a changed {lm.name}: save that model first, and load it by its folder"
        )
    with whole_folder(folder) as new:
        if isinstance(lm, Adapted):
            lm.adapter.save_pretrained(new, save_embedding_layers=False)  # else it asks a hub about the base
            (new / "README.md").unlink(missing_ok=True)  # an empty form
        else:
            lm.model.save_pretrained(new)
        lm.tokenizer.save_pretrained(new)
        write_text(new / RECORD, json.dumps(record, indent=1) + "\n")
        seal(new)
