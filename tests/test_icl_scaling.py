"""Variance components come back from data that were made of them."""

import numpy as np
import pandas as pd
import pytest

from adaptlab.studies.icl_scaling import SOURCES, components, estimates, order_variance


def made(samples=40, orders=6, items=50, seed=0, **sd) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    shape = {
        "sample": (samples, 1, 1),
        "order": (samples, orders, 1),
        "item": (1, 1, items),
        "sample x item": (samples, 1, items),
    }
    shape["rest"] = (samples, orders, items)
    y = sum(rng.normal(0, sd.get(name.replace(" ", "_"), 0), size) for name, size in shape.items())
    y = np.broadcast_to(y, (samples, orders, items))
    index = pd.MultiIndex.from_product([range(samples), range(orders), range(items)], names=["seed", "order", "item"])
    return pd.Series(y.ravel(), index, name="gold_prob").reset_index().assign(shots=4)


def test_components_come_back():
    sd = {"sample": 1.0, "order": 0.5, "item": 2.0, "sample_x_item": 0.7, "rest": 0.3}
    found = components(made(**sd))
    assert list(found.index) == list(SOURCES)
    for name in SOURCES:
        assert found[name] == pytest.approx(sd[name.replace(" ", "_")] ** 2, rel=0.5), name


def test_estimates_are_unbiased():
    """Small tables with much noise: every mean square has to be corrected for those below it."""
    sd = {"sample": 0.5, "order": 0.5, "item": 0.5, "sample_x_item": 1.5, "rest": 2.0}
    found = [
        estimates(made(3, 3, 4, seed, **sd).gold_prob.to_numpy().reshape(3, 3, 4)).to_numpy() for seed in range(2000)
    ]
    truth = [sd[name.replace(" ", "_")] ** 2 for name in SOURCES]
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - truth) < 4 * error).all() and (error < 0.1).all()


@pytest.mark.parametrize("source", [name.replace(" ", "_") for name in SOURCES])
def test_a_single_source_is_named(source):
    found = components(made(**{source: 1.0}))
    assert found.idxmax() == source.replace("_", " ") and found.max() / found.sum() > 0.9


@pytest.mark.parametrize(
    "broken",
    [
        lambda f: f[f.order == 0],
        lambda f: f[f.seed == 0],
        lambda f: f.drop(index=f.index[3]),
        lambda f: pd.concat([f, f.iloc[:1]]),
        lambda f: f[(f.seed > 0) | (f.order > 0)],
    ],
    ids=["one order", "one sample", "a gap", "a repeat", "an order less"],
)
def test_unbalanced_frames_are_refused(broken):
    with pytest.raises(ValueError, match="as many orders in each"):
        components(broken(made(samples=3, orders=3, items=4, rest=1.0)))


def test_order_variance_is_that_of_each_item():
    frame = made(samples=3, orders=4, items=5, order=1.0, rest=0.5)
    table = order_variance(frame)
    assert len(table) == 15
    one = frame[(frame.seed == 1) & (frame["item"] == 2)].gold_prob
    row = table[(table.seed == 1) & (table["item"] == 2)].order_variance.item()
    assert row == pytest.approx(np.var(one, ddof=1))
    with pytest.raises(ValueError, match="at least two values of 'order'"):
        order_variance(frame[frame.order == 0])
    with pytest.raises(ValueError, match="several rows for one order"):
        order_variance(pd.concat([frame, frame.assign(mystery=1)]))
    two = order_variance(pd.concat([frame.assign(answers="a"), frame.assign(answers="b", gold_prob=0.0)]))
    assert two[two.answers == "b"].order_variance.eq(0).all() and len(two) == 30
