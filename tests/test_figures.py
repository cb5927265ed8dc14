"""Figures draw what the frame says, leave the surroundings alone, and carry their description."""

import io
import itertools

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from adaptlab.evidence.figures import curve, panels, points, seed_strip, shares
from adaptlab.evidence.record import with_alt_text
from adaptlab.evidence.stats import crossed_interval, summary


@pytest.fixture(autouse=True)
def no_figure_left_behind():
    matplotlib.use("agg")
    yield
    plt.close("all")


def frame(labels=("letters", "words"), shots=(0, 1, 4, 64), seeds=3, items=12):
    rng = np.random.default_rng(0)
    grid = itertools.product(labels, shots, range(seeds), range(items))
    rows = [(la, k, s, f"i{i}", bool(rng.random() < 0.3 + 0.1 * np.log2(k + 1))) for la, k, s, i in grid]
    costs = {
        "prefilled": 2.0,
        "cached": 50.0,
        "scored": 3.0,
        "decoded": 1.0,
        "trained": 4.0,
        "per_item": 50.0,
        "per_option": 100.0,
    }
    return pd.DataFrame(rows, columns=["labels", "shots", "seed", "item", "correct"]).assign(**costs)


def texts(ax):
    return [text.get_text().strip() for text in (*ax.texts, ax.title, ax._left_title, ax._right_title)]


def test_a_curve_shows_the_mean_and_the_crossed_interval_at_every_point():
    data = frame(labels=("letters",))
    ax = curve(data, ax=plt.figure().subplots())
    (line,) = ax.get_lines()
    assert line.get_ydata() == pytest.approx(data.groupby("shots")["correct"].mean().to_numpy())
    band = ax.collections[0].get_paths()[0].vertices
    for place, (_, rows) in enumerate(data.groupby("shots")):
        matrix = rows.pivot(index="seed", columns="item", values="correct").to_numpy()
        expected = crossed_interval(matrix, bounds=(0, 1))
        drawn = band[band[:, 0] == place, 1]
        assert (drawn.min(), drawn.max()) == pytest.approx((expected.low, expected.high))


def test_shots_stand_at_even_steps_with_their_own_names():
    ax = curve(frame().sample(frac=1, random_state=0), hue="labels", ax=plt.figure().subplots())
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "4", "64"]
    assert list(ax.get_xticks()) == [0, 1, 2, 3]
    assert ax.get_ylim() == (0, 1)


def test_a_curve_names_lines_baselines_and_sample_sizes():
    ax = curve(frame(), hue="labels", baselines={"chance": 0.25}, ax=plt.figure().subplots())
    assert {"letters", "words", "chance", "12 items, 3 seeds; 95 % intervals"} <= set(texts(ax))
    chance = [line for line in ax.get_lines() if set(line.get_ydata()) == {0.25}]
    assert len(chance) == 1 and chance[0].get_linestyle() not in ("-", "None")


def test_lines_differ_by_marker_as_well_as_by_colour():
    ax = curve(frame(labels=tuple("abcdefgh")), hue="labels", ax=plt.figure().subplots())
    lines = ax.get_lines()
    assert len(lines) == len({line.get_marker() for line in lines}) == len({line.get_color() for line in lines}) == 8


def test_labels_of_lines_that_end_together_do_not_overlap():
    figure, ax = plt.subplots(figsize=(6, 4))
    curve(frame(labels=tuple("abcde"), shots=(0, 64)).assign(correct=True), hue="labels", ax=ax)
    figure.canvas.draw()
    # Text's own extent: an annotation's would take in the lead to its line.
    tops = sorted(Text.get_window_extent(text).y0 for text in ax.texts if text.get_text().strip() in "abcde")
    assert len(tops) == 5 and min(np.diff(tops)) > 8


def test_a_curve_of_one_point_shows_its_interval():
    ax = curve(frame(labels=("letters",), shots=(4,)), ax=plt.figure().subplots())
    (low, high) = ax.collections[0].get_segments()[0][:, 1]
    assert low < ax.get_lines()[0].get_ydata()[0] < high


def test_points_with_one_seed_and_points_with_several_stand_together():
    data = frame(labels=("letters",))
    ax = curve(data[(data["shots"] > 0) | (data["seed"] == 0)], ax=plt.figure().subplots())
    assert "12 items, 1 to 3 seeds; 95 % intervals" in texts(ax)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop(columns="seed"), "no column 'seed'; columns: labels"),
        (lambda d: d.iloc[:0], "no rows"),
        (lambda d: d, "several rows for one .seed, item. at one shots"),
        (
            lambda d: d[d["labels"] == "words"].iloc[1:],
            "no interval for correct at shots=0: 1 of 36 .seed, item. cells",
        ),
    ],
)
def test_a_frame_that_gives_no_interval_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        curve(change(frame()), ax=plt.figure().subplots())


@pytest.mark.parametrize("plot", [curve, seed_strip, lambda data, ax=None: points(data, x="shots", ax=ax)])
def test_a_plot_draws_on_its_axes_only_and_leaves_data_and_style_alone(plot):
    data = frame(labels=("letters",))
    before, style = data.copy(), dict(matplotlib.rcParams)
    figure, (left, right) = plt.subplots(1, 2)
    assert plot(data, ax=left) is left
    assert not right.has_data() and plt.get_fignums() == [figure.number]
    pd.testing.assert_frame_equal(data, before)
    assert dict(matplotlib.rcParams) == style
    alone = plot(data)
    assert alone.figure is not figure and tuple(alone.figure.get_size_inches()) == (9, 5), "a figure of its own"


def test_the_seed_strip_has_one_dot_for_each_seed():
    data = frame()
    ax = seed_strip(data, hue="labels", ax=plt.figure().subplots())
    drawn = np.sort(np.concatenate([line.get_ydata() for line in ax.get_lines()]))
    means = data.groupby(["labels", "shots", "seed"])["correct"].mean()
    assert drawn == pytest.approx(np.sort(means.to_numpy()))


def test_points_are_means_with_intervals_and_lonely_values_are_left_out():
    data = frame(labels=("letters", "words"), shots=(0, 4))
    ax = points(data, x="shots", hue="labels", ax=plt.figure().subplots())
    means = data.groupby(["labels", "shots"])["correct"].mean()
    assert [y for line in ax.containers for y in line[0].get_ydata()] == pytest.approx(list(means))
    tokens = frame(labels=("a",), seeds=2).sample(frac=0.7, random_state=0)
    tokens = tokens[(tokens["shots"] < 64) | (tokens["item"] == "i0")]
    assert len(points(tokens, x="shots", ax=plt.figure().subplots()).get_xticks()) == 3
    with pytest.raises(ValueError, match="no column 'style'"):
        points(data, x="style")


def test_shares_add_up_to_one_in_every_bar():
    data = pd.DataFrame({"part": list("aabbbc"), "shift": list("xyxxyz")})
    ax = shares(data, x="part", of="shift", kinds=["x", "y", "z"], values=["b", "a", "none"])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["b", "a"]
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([2 / 3, 1 / 2, 1 / 3, 1 / 2, 0, 0])


# ---- pictures


ALT = 'Accuracy & "shots": <two> lines'


def test_a_described_figure_is_rendered_once_and_closed():
    figure, ax = plt.subplots(figsize=(3, 2))
    picture = with_alt_text(curve(frame(labels=("letters",)), ax=ax), ALT)
    assert plt.get_fignums() == []
    assert repr(picture) == ALT
    assert picture.png.startswith(b"\x89PNG")
    with Image.open(io.BytesIO(picture.png)) as image:
        corner = image.convert("RGBA").getpixel((0, 0))
        assert corner[3] == 0, "transparent: it stands on white and on dark pages"
        data, metadata = picture._repr_mimebundle_()
        assert set(data) == {"image/png", "text/plain"} and metadata["image/png"]["alt"] == ALT
        assert image.width > 350 and metadata["image/png"]["width"] < image.width
    assert with_alt_text(plt.figure(figsize=(3, 2)), "a\n  figure too").alt == "a figure too"
    with pytest.raises(ValueError, match="alt is empty"):
        with_alt_text(figure, "  ")


def test_panels_share_one_axis_and_one_legend():
    data = frame()
    figure = panels(data, lambda rows, ax: points(rows, x="shots", hue="labels", ax=ax), by="seed", ylabel="right")
    assert [ax.get_title().split("\n")[0] for ax in figure.axes] == ["0", "1", "2"]
    assert [ax.get_ylabel() for ax in figure.axes] == ["right", "", ""]
    assert [ax.get_legend() is not None for ax in figure.axes] == [False, False, True]
    figure = panels(data, lambda rows, ax: points(rows, x="shots", ax=ax), by="seed", columns=2, ylabel="right")
    assert [ax.get_ylabel() for ax in figure.axes] == ["right", "", "right", ""]
    assert [ax.axison for ax in figure.axes] == [True, True, True, False], "three panels leave the last place empty"


def test_means_of_several_answers_are_shares_too():
    data = frame().assign(correct=lambda rows: rows.correct * 0.5 + 0.5)
    table = summary(data, ["labels", "shots"])
    assert table.low.min() >= 0 and table.high.max() <= 1
