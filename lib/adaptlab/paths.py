"""Where the kit's own files are: beside the package in a checkout, inside it in an installed wheel."""

import os
from pathlib import Path

from platformdirs import user_cache_path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]
IN_CHECKOUT = (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "notebooks").is_dir()
_KIT = _CHECKOUT if IN_CHECKOUT else _PACKAGE

PACKAGE = _PACKAGE
DATA = _KIT / "data"
NOTEBOOKS = _KIT / "notebooks"
MODELS = DATA / "models"
# Executed notebooks and reports: in the checkout's ignored build folder, else where the user stands.
BUILD = (_CHECKOUT if IN_CHECKOUT else Path.cwd()) / "build"
# Models in training.
CHECKPOINTS = BUILD.parent / "checkpoints"


def cache() -> Path:
    """Folder for what is expensive to make and safe to delete (converted models).

    ``ADAPTLAB_CACHE`` overrides the platform's user cache folder.
    """
    return Path(os.environ.get("ADAPTLAB_CACHE") or user_cache_path("adaptlab", appauthor=False))
