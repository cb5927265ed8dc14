"""The rows of all grids of a run as one tidy frame, in CSV and, where pyarrow is installed, in Parquet.

The runner names a place by the environment variable `PLACE`; without it nothing is written.
"""

import importlib.util
import os
from pathlib import Path

import pandas as pd

from adaptlab.files import whole_file

PLACE = "ADAPTLAB_FRAME"  # a path without ending
ENDINGS = (".csv", ".parquet")
_kept: list[pd.DataFrame] = []


class FrameUnreadable(ValueError):
    """A file that holds no frame; the message names it."""


def keep(frame: pd.DataFrame) -> None:
    """Add the rows of one grid, under its number from 1 in the column ``grid``, and write all that there are so far: a
    run that breaks later leaves what was measured."""
    if not (place := os.environ.get(PLACE)):
        return
    _kept.append(frame.assign(grid=len(_kept) + 1))
    write(so_far(), Path(place), private=True)  # it has not been looked through for secrets


def so_far() -> pd.DataFrame:
    """The rows that were kept up to now."""
    return pd.concat(_kept, ignore_index=True) if _kept else pd.DataFrame()


def read(path: Path) -> pd.DataFrame:
    """A frame from a file such as `write` writes. Raises `FrameUnreadable` for a file that is no such table."""
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        # Only an empty field is a gap: labels may well be called None or NA.
        return pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)
    except (ValueError, ImportError) as error:
        raise FrameUnreadable(
            f"{path}: cannot be read as a table ({error}); give the CSV or Parquet of a run"
        ) from error


def write(frame: pd.DataFrame, place: Path, *, private: bool = False) -> None:
    """Write a frame to ``place`` with each of `ENDINGS`; the column ``grid`` comes first. ``private``: for nobody else
    to read."""
    frame = frame[["grid", *(column for column in frame if column != "grid")]].copy()
    for column in frame.columns[frame.dtypes.map(pd.api.types.is_object_dtype)]:  # a Parquet column has one type
        kinds = set(map(type, frame[column].dropna()))
        if len(kinds) > 1 or not kinds <= {str, bool, int, float}:
            frame[column] = frame[column].map(str, na_action="ignore")
    with whole_file(place.with_name(f"{place.name}.csv"), private=private) as new:
        frame.to_csv(new, index=False)
    if importlib.util.find_spec("pyarrow"):
        with whole_file(place.with_name(f"{place.name}.parquet"), private=private) as new:
            frame.to_parquet(new, index=False)
