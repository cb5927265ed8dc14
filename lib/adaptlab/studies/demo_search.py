"""For notebook 03: pools of three kinds, one row a test item for each search, and the picture of a set made by hand."""

import random
from dataclasses import replace

import pandas as pd

from adaptlab.methods.urial import RESPONSE_STYLES, apply_style
from adaptlab.tasks.splits import LabelledSet, OpenSet

Frame = pd.DataFrame
NOISE = 0.4  # how often a label of a noisy pool is drawn anew, which leaves it right for one of its classes


def relabelled(data: LabelledSet, seed: int, noise: float = NOISE) -> LabelledSet:
    """The set with a pool in which so many labels were drawn anew at random; the test keeps its own."""
    rng = random.Random(f"noise {seed}")
    pool = [replace(one, label=rng.choice(data.labels)) if rng.random() < noise else one for one in data.pool]
    return replace(data, pool=tuple(pool))


def in_mixed_styles(data: OpenSet, seed: int) -> OpenSet:
    """The set with a pool whose answers are put in four response styles at random; the test's are plain."""
    rng = random.Random(f"styles {seed}")
    pool = [replace(one, output=apply_style(one, rng.choice(RESPONSE_STYLES))) for one in data.pool]
    return replace(data, pool=tuple(pool))
