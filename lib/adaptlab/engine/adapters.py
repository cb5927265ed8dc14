"""What of a model is to learn: all of it, its top layers, or low-rank adapters beside frozen weights (PEFT).

LoRA: Hu et al. 2021, arXiv 2106.09685. Adapters are PEFT's own, in its own format: what leaves here is loaded by
``PeftModel.from_pretrained``, and what others trained is loaded by `adaptlab.engine.models.load`.
"""

import copy
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import SAFETENSORS_WEIGHTS_NAME as WEIGHTS
from transformers.pytorch_utils import Conv1D

from adaptlab.engine.folders import RECORD, ModelNotFound
from adaptlab.engine.lm import LM

ADAPTER = "default"  # PEFT's name for the one adapter of a model
MODIFIED = "changed"  # how the digest of weights begins that no name leads to


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
    ``beneath`` identifies the weights that they belong to."""

    adapter: PeftModel
    base_digest: str


def prepare_for_training(lm: LM, how: Trainable, seed: int) -> LM:
    """A copy of the model in which what ``how`` says can learn, and nothing else; ``lm`` stays as it is.

    A copy with adapters shares the frozen weights with ``lm``, and costs next to no memory. Of a model that has
    adapters already, they are merged first. Weights that learn are float32: in fewer digits, small steps are lost.
    Raises ValueError where the model has fewer layers.
    """
    if isinstance(lm, Adapted):
        lm = merged(lm)
    depth = lm.model.config.get_text_config().num_hidden_layers
    if not 0 <= how.layers <= depth:
        raise ValueError(f"layers must be 0 (all) to {depth} for {lm.name}; found {how.layers}")
    top = list(range(depth - how.layers, depth)) if how.layers else None
    return _weights(lm, top) if isinstance(how, Full) else _adapters(lm, how, top, seed)


def _weights(lm: LM, top: list[int] | None) -> LM:
    model = copy.deepcopy(lm.model).float()
    stack = next(part for part in model.base_model.modules() if isinstance(part, torch.nn.ModuleList))
    model.requires_grad_(top is None)
    for number in top or ():
        stack[number].requires_grad_(True)
    return replace(lm, model=model)


def _adapters(lm: LM, how: Lora, top: list[int] | None, seed: int) -> Adapted:
    # The same storage under new names: PEFT freezes what it is given.
    shared = {id(p): torch.nn.Parameter(p.detach(), requires_grad=False) for p in lm.model.parameters()}
    model = copy.deepcopy(lm.model, shared)
    head = model.get_output_embeddings()
    maps = {name.rsplit(".", 1)[-1] for name, part in model.named_modules() if _is_map(part) and part is not head}
    config = LoraConfig(
        r=how.rank,
        lora_alpha=how.alpha,
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


def _is_map(part: torch.nn.Module) -> bool:
    return isinstance(part, torch.nn.Linear | Conv1D)


def attached(base: LM, folder: Path, name: str, digest: str) -> Adapted:
    """The adapters of a folder, in place in ``base``, which they were trained for; ``name`` and ``digest`` are those of
    the result."""
    if not (folder / WEIGHTS).is_file():
        raise ModelNotFound(f"{folder} has no {WEIGHTS}: adapters come as safetensors or not at all")
    try:
        with _quiet():
            adapter = PeftModel.from_pretrained(base.model, folder, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelNotFound(f"the adapters in {folder} could not be loaded: {error}") from error
    if adapter.active_peft_config.is_prompt_learning:
        raise ModelNotFound(f"{folder} holds a learned prompt, which stands beside no weights: use PEFT itself for it")
    return Adapted(name, adapter.get_base_model().eval(), base.tokenizer, digest, adapter, base.digest)


def merged(lm: Adapted) -> LM:
    """A copy of the model with the adapters added to its weights (in their own precision)."""
    model = copy.deepcopy(lm.adapter).merge_and_unload()
    return LM(lm.name, model.eval(), lm.tokenizer, f"{MODIFIED} {lm.digest}")


@contextmanager
def _quiet() -> Iterator[None]:
    """PEFT asks transformers for gradient checkpointing by a name that is going away."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def save(lm: LM, folder: Path, record: dict) -> None:
    """Write adapters in PEFT's format, or the whole model in that of transformers; and ``record``, what the run was.

    The folder appears whole. Raises FileExistsError where there is one already, and ValueError for adapters of weights
    that cannot be had by name: those of a model that was tuned before.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; name a new folder")
    if isinstance(lm, Adapted):
        _check_beneath(lm)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        work.chmod(0o755)
        if isinstance(lm, Adapted):
            lm.adapter.save_pretrained(work, save_embedding_layers=False)  # else it asks a hub about the base
            (work / "README.md").unlink(missing_ok=True)  # an empty form
        else:
            lm.model.save_pretrained(work)
            lm.tokenizer.save_pretrained(work)
        (work / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_beneath(lm: Adapted) -> None:
    """Adapters name their model; that name must not lead to other weights."""
    if lm.base_digest.startswith(MODIFIED):
        raise ValueError(
            f"these adapters belong to a changed {lm.name}: save that model first, and load it by its folder"
        )
