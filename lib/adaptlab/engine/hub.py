"""The Hugging Face Hub: asked only for a model that was named, and only where there is a network."""

import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import huggingface_hub

from adaptlab.engine.gguf import quiet


def downloaded(name: str, patterns: Sequence[str]) -> Path:
    """The folder of a Hub model's files that match ``patterns``: from the Hub's cache, else downloaded into it.

    Raises OSError or ValueError where the model cannot be had.
    """
    with quiet():
        offline = not reachable()
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(patterns), local_files_only=offline))


def reachable() -> bool:
    """Whether it is worth asking: with no network at all, the Hub's client would retry for most of a minute."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    if getproxies().get("https"):
        return True
    try:
        socket.getaddrinfo(urlsplit(huggingface_hub.constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True
