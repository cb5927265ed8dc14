"""What the training loop asks of the machine: number formats, a compiler, memory, and sums in a fixed order."""

import ctypes
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def ordered_sums(device: torch.device) -> Iterator[None]:
    """On a CPU, have gradients summed in a fixed order; compiled code otherwise adds them up as its threads come. New
    memory is not filled beforehand, which torch would do in this mode to unmask reads of what was never written."""
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
    """Have glibc keep what is freed: the same big tensors come again at every step, and fetching their pages anew
    takes a quarter of the time. Other libraries are left as they are."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h
        mallopt(mmap_threshold, 32 * 2**20)  # the highest that glibc takes
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**29)


def name_of(device: torch.device) -> str:
    """What the log calls the device: a graphics card's name, or how many threads of a processor."""
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{torch.get_num_threads()} {device.type} threads"
    )


def has_bf16(device: torch.device) -> bool:
    """Whether products in bfloat16 are done by the hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` finds what it needs: on a CPU, a C++ compiler and Python's headers."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    headers = Path(sysconfig.get_path("include"), "Python.h").is_file()
    return device.type == "cuda" or (device.type == "cpu" and bool(compiler) and headers)
