"""Where the spread of few-shot results comes from: the demonstrations sampled, their order, or the items asked."""

import numpy as np
import pandas as pd

SOURCES = ("sample", "order", "item", "sample x item", "rest")


def order_variance(frame: pd.DataFrame, metric: str = "gold_prob") -> pd.DataFrame:
    """For each draw of demonstrations, item and number of shots: the unbiased variance of ``metric`` over orders.

    The result has one row for each (model, shots, seed, item) with the column ``order_variance``, for claims.
    """
    if frame.order.nunique() < 2:
        raise ValueError("one order has no variance: the frame needs at least two values of 'order'")
    keys = [k for k in ("model", "task", "labels", "answers", "format", "shots", "seed", "item") if k in frame]
    if frame.duplicated([*keys, "order"]).any():
        raise ValueError(f"several rows for one order: {', '.join(keys)} do not tell them apart")
    return frame.groupby(keys, sort=False)[metric].var(ddof=1).rename("order_variance").reset_index()


def components(frame: pd.DataFrame, metric: str = "gold_prob") -> pd.Series:
    """Variance components of ``metric`` by source, for one number of shots: `estimates`, those below zero as zero.

    Raises ValueError unless every draw has the same number of orders, two or more, and every order meets every item.
    """
    table = frame.pivot_table(index=["seed", "order"], columns="item", values=metric, aggfunc=["size", "mean"])
    values, counts = table["mean"].to_numpy(float), table["size"].to_numpy(float)
    draws, items = frame.seed.nunique(), frame.item.nunique()
    orders = len(values) // draws
    if draws < 2 or orders < 2 or items < 2 or len(values) != draws * orders or not (counts == 1).all():
        raise ValueError("needs two or more draws, as many orders in each, and every item once in every order")
    return estimates(values.reshape(draws, orders, items)).clip(lower=0)


def estimates(y: np.ndarray) -> pd.Series:
    """Unbiased variance components of ``y`` [draws, orders, items]: orders are nested in draws, items cross both.

    Mean squares are equated with their expectations (Searle, Casella & McCulloch 1992, chapter 4). ``rest`` holds
    order x item.
    """
    draws, orders, items = y.shape
    grand, cells = y.mean(), y.mean(axis=1)
    by_draw, by_order, by_item = y.mean(axis=(1, 2)), y.mean(axis=2), y.mean(axis=(0, 1))
    inner = cells - by_draw[:, None] - by_item[None, :] + grand
    rest = y - by_order[:, :, None] - cells[:, None, :] + by_draw[:, None, None]
    ms_draw = orders * items * ((by_draw - grand) ** 2).sum() / (draws - 1)
    ms_order = items * ((by_order - by_draw[:, None]) ** 2).sum() / (draws * (orders - 1))
    ms_item = draws * orders * ((by_item - grand) ** 2).sum() / (items - 1)
    ms_inner = orders * (inner**2).sum() / ((draws - 1) * (items - 1))
    ms_rest = (rest**2).sum() / (draws * (orders - 1) * (items - 1))
    found = (
        (ms_draw - ms_order - ms_inner + ms_rest) / (orders * items),
        (ms_order - ms_rest) / items,
        (ms_item - ms_inner) / (draws * orders),
        (ms_inner - ms_rest) / orders,
        ms_rest,
    )
    return pd.Series(found, index=SOURCES, name="variance")
