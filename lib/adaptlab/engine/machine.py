"""What the engine asks of the machine: memory, number formats, sums in a fixed order, and quicker kernels.

PEFT writes a map with an adapter as ``W x + scaling * B A x``: two wide intermediate results, and two casts of the
input where precisions differ, each read from memory and written back. Here the branch is added where W x stands, in
the pass forward and in the one back. With SmolLM2 on a CPU this took a quarter off the time of a step.
"""

import ctypes
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel


@contextmanager
def ordered_sums(device: torch.device) -> Iterator[None]:
    """On a CPU, sum gradients in a fixed order; compiled code otherwise sums them in the order in which threads finish.

    New memory is not filled first, which torch would do in this mode to unmask reads of what was never written.
    """
    mode, fills = torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fills


def keep_freed_memory() -> None:
    """Have glibc keep freed memory: every step needs the same big tensors, and fetching pages anew takes a quarter
    of the time. Other C libraries are left as they are."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h
        mallopt(mmap_threshold, 32 * 2**20)  # the highest that glibc takes
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**29)


def room(device: torch.device) -> int:
    """Bytes that a batch may take beside the weights: a gibibyte; on a graphics card, half of what is free there."""
    if device.type != "cuda":
        return 2**30
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for the next tensors
    return (torch.cuda.mem_get_info(device)[0] + kept) // 2


def name_of(device: torch.device) -> str:
    """The device's name in logs: that of a graphics card, or a number of processor threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} {device.type} threads"


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` finds what it needs: on a CPU, a C++ compiler and Python's headers."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    headers = Path(sysconfig.get_path("include"), "Python.h").is_file()
    return device.type == "cuda" or (device.type == "cpu" and bool(compiler) and headers)


@contextmanager
def fast_kernels(model: PreTrainedModel, low: bool) -> Iterator[None]:
    """Train with quicker equals of what the model computes with; ``low``: products are in bfloat16."""
    with ExitStack() as stack:
        stack.enter_context(_attention_written_out(model))
        stack.enter_context(_branches_in_place(model))
        if low:
            stack.enter_context(_frozen_in_bfloat16(model))
        yield


@contextmanager
def _attention_written_out(model: PreTrainedModel) -> Iterator[None]:
    """On a CPU, attention in matrix products: the fused kernel's backward pass is the slower one for short rows."""
    fused = model.config._attn_implementation == "sdpa" and model.device.type == "cpu"
    if fused:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if fused:
            model.set_attn_implementation("sdpa")


@contextmanager
def _frozen_in_bfloat16(model: nn.Module) -> Iterator[None]:
    """Hold frozen weights of linear maps in bfloat16; autocast would cast them in every pass. Embeddings that are the
    LM head's weights as well stay as they are: what enters the first layer does so in full."""
    maps = [part for part in model.modules() if isinstance(part, nn.Linear) and not part.weight.requires_grad]
    given = [part.weight for part in maps]
    for part in maps:
        part.weight = nn.Parameter(part.weight.bfloat16(), requires_grad=False)
    try:
        yield
    finally:
        for part, weight in zip(maps, given, strict=True):
            part.weight = weight


@contextmanager
def _branches_in_place(model: nn.Module) -> Iterator[None]:
    """Compute maps with adapters by `_InPlace`."""
    maps = [part for part in model.modules() if isinstance(part, LoraLinear) and _is_plain(part)]
    for part in maps:
        part.forward = _forward(part)
    try:
        yield
    finally:
        for part in maps:
            del part.forward


def _is_plain(part: LoraLinear) -> bool:
    """Whether a map is a frozen `nn.Linear` with one adapter of the plain kind at work."""
    base, active = part.base_layer, part.active_adapters
    if type(base) is not nn.Linear or base.weight.requires_grad or len(active) != 1:
        return False
    (name,) = active
    dropout, bias = part.lora_dropout[name], part.lora_B[name].bias
    return not part.merged and name not in part.lora_variant and isinstance(dropout, nn.Identity) and bias is None


def _forward(part: LoraLinear) -> Callable[[torch.Tensor], torch.Tensor]:
    (name,) = part.active_adapters
    base, a, b, scaling = part.base_layer, part.lora_A[name], part.lora_B[name], part.scaling[name]

    def forward(x: torch.Tensor) -> torch.Tensor:
        if part.disable_adapters:
            return base(x)
        return _InPlace.apply(x, base.weight, base.bias, a.weight, b.weight, scaling)

    return forward


class _InPlace(torch.autograd.Function):
    """``x W' + bias + scaling * x A' B'`` for a W that does not learn, in W's precision."""

    @staticmethod
    def forward(
        ctx,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        ctx.scaling, ctx.x_dtype, ctx.adapter_dtype = scaling, x.dtype, a.dtype
        rows, a, b = (given.to(weight.dtype) for given in (x.reshape(-1, x.shape[-1]), a, b))
        inner = rows @ a.T
        out = nn.functional.linear(rows, weight, bias).addmm_(inner, b.T, alpha=scaling)
        ctx.save_for_backward(rows, inner, weight, a, b)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, inner, weight, a, b = ctx.saved_tensors
        above = grad.reshape(-1, grad.shape[-1]).to(weight.dtype)
        branch = (above @ b).mul_(ctx.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (above @ weight).addmm_(branch, a).view(*grad.shape[:-1], -1).to(ctx.x_dtype)
        grad_a = (branch.T @ rows).to(ctx.adapter_dtype)
        grad_b = (inner.T @ above).mul_(ctx.scaling).T.to(ctx.adapter_dtype)
        return grad_x, None, None, grad_a, grad_b, None
