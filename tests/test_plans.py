"""Plans that make no sense are refused, and a learning rate rises to its peak and falls to nothing."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptlab.engine.training import train
from adaptlab.engine.training_config import DECAYS, TrainingConfig
from conftest import tiny_lm
from test_training import drawn


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("epochs", 0, "1 or more"),
        ("batch", 0, "1 or more"),
        ("lr", 0.0, "above 0 and finite"),
        ("lr", math.inf, "above 0 and finite"),
        ("lr", math.nan, "above 0 and finite"),
        ("warm_up", -0.1, "0 to 1"),
        ("warm_up", 1.1, "0 to 1"),
        ("decay", "slowly", r"one of \('linear', 'cosine', 'none'\)"),
        ("weight_decay", -0.1, "0 or more, and finite"),
        ("clip", 0.0, "above 0"),
        ("patience", -1, "0 or more"),
    ],
)
def test_a_plan_refuses_what_makes_no_sense(name, value, allowed):
    with pytest.raises(ValueError, match=rf"^{name} must be {allowed}; found {value!r}$"):
        TrainingConfig(**{name: value})


@given(steps=st.integers(1, 300), warm_up=st.floats(0, 1), decay=st.sampled_from(DECAYS))
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(steps, warm_up, decay):
    shares = [TrainingConfig(warm_up=warm_up, decay=decay).lr_factor(step, steps) for step in range(steps + 1)]
    peak = shares.index(1.0)
    assert peak < steps and abs(peak + 1 - warm_up * steps) <= 1
    assert all(0 < share <= 1 for share in shares[:-1])
    assert all(one < after for one, after in itertools.pairwise(shares[: peak + 1]))
    assert all(one >= after for one, after in itertools.pairwise(shares[peak:]))
    assert shares[-1] == (1 if decay == "none" else pytest.approx(0))


def test_runs_without_anything_to_do_are_refused():
    model = tiny_lm("llama").model
    with pytest.raises(ValueError, match="no items"):
        train(model, [], TrainingConfig())
    with pytest.raises(ValueError, match="patience needs held-out items"):
        train(model, drawn(2), TrainingConfig(patience=1))
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        train(model.requires_grad_(False), drawn(2), TrainingConfig())
