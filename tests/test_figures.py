"""Figures draw what the frame says, leave the surroundings alone, and carry their description."""

import itertools

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.text import Text
from nbconvert import HTMLExporter

from adaptlab.evidence.figures import cost_bars, curve, seed_strip
from adaptlab.evidence.record import with_alt_text
from adaptlab.evidence.stats import crossed_interval


@pytest.fixture(autouse=True)
def no_figure_left_behind():
    matplotlib.use("agg")
    yield
    plt.close("all")


def frame(labels=("letters", "words"), shots=(0, 1, 4, 64), seeds=3, items=12):
    rng = np.random.default_rng(0)
    grid = itertools.product(labels, shots, range(seeds), range(items))
    rows = [(la, k, s, f"i{i}", bool(rng.random() < 0.3 + 0.1 * np.log2(k + 1))) for la, k, s, i in grid]
    costs = {"prefilled": 2.0, "cached": 50.0, "scored": 3.0, "decoded": 1.0, "trained": 4.0, "naive": 100.0}
    return pd.DataFrame(rows, columns=["labels", "shots", "seed", "item", "correct"]).assign(**costs)


def texts(ax):
    return [text.get_text().strip() for text in ax.texts]


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
        (lambda d: d, "several rows for one .seed, item. at shots=0"),
        (lambda d: d[d["labels"] == "words"].iloc[1:], "no interval for correct at shots=0: 1 of 36 cells"),
    ],
)
def test_a_frame_that_gives_no_interval_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        curve(change(frame()), ax=plt.figure().subplots())


@pytest.mark.parametrize("plot", [curve, seed_strip, lambda data, ax=None: cost_bars(data, by="labels", ax=ax)])
def test_a_plot_draws_on_its_axes_only_and_leaves_data_and_style_alone(plot):
    data = frame(labels=("letters",))
    before, style = data.copy(), dict(matplotlib.rcParams)
    figure, (left, right) = plt.subplots(1, 2)
    assert plot(data, ax=left) is left
    assert not right.has_data() and plt.get_fignums() == [figure.number]
    pd.testing.assert_frame_equal(data, before)
    assert dict(matplotlib.rcParams) == style
    plt.sca(right)
    assert plot(data) is right


def test_the_seed_strip_has_one_dot_for_each_seed():
    data = frame()
    ax = seed_strip(data, hue="labels", ax=plt.figure().subplots())
    drawn = np.sort(np.concatenate([line.get_ydata() for line in ax.get_lines()]))
    means = data.groupby(["labels", "shots", "seed"])["correct"].mean()
    assert drawn == pytest.approx(np.sort(means.to_numpy()))


def test_cost_bars_compare_what_was_computed_with_the_naive_count():
    data = frame(shots=(0,), seeds=1, items=10).assign(trained=0.0)
    data.loc[data["labels"] == "words", "naive"] = 30.0
    ax = cost_bars(data, by="labels", ax=plt.figure().subplots())
    assert [bar.get_width() for bar in ax.patches] == [60, 60, 1000, 300]  # 2 + 3 + 1 tokens; cached is free
    assert {"16.7×", "5×", "60", "1 k", "300"} <= set(texts(ax))
    assert ax.get_xscale() == "log" and ax.get_xlim()[0] == 1


def test_trained_tokens_have_a_bar_of_their_own():
    data = frame(shots=(0,), seeds=1, items=10)
    data.loc[data["labels"] == "words", "trained"] = 0.0
    ax = cost_bars(data, by="labels", ax=plt.figure().subplots())
    assert [bar.get_width() for bar in ax.patches] == [60, 60, 1000, 1000, 40, 0]
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1] == "trained"


def test_cost_bars_without_a_token_are_refused():
    data = frame().assign(prefilled=0.0, scored=0.0, decoded=0.0)
    with pytest.raises(ValueError, match="no tokens were computed for labels='letters'"):
        cost_bars(data, by="labels", ax=plt.figure().subplots())


# ---- pictures


ALT = 'Accuracy & "shots": <two> lines'


def test_a_described_figure_is_rendered_once_and_closed():
    figure, ax = plt.subplots(figsize=(3, 2))
    ax.set_facecolor("white")
    picture = with_alt_text(curve(frame(labels=("letters",)), ax=ax), ALT)
    assert plt.get_fignums() == []
    assert repr(picture) == ALT
    assert picture.png.startswith(b"\x89PNG")
    assert with_alt_text(plt.figure(figsize=(3, 2)), "a\n  figure too").alt == "a figure too"
    with pytest.raises(ValueError, match="alt is empty"):
        with_alt_text(figure, "  ")


def notebook_with(value):
    """A notebook whose one output is what IPython makes of the value."""
    data, metadata = InteractiveShell.instance().display_formatter.format(value)
    cell = nbformat.v4.new_code_cell("figure", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("execute_result", data, metadata=metadata, execution_count=1)]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbformat.validate(notebook)
    return notebook


@pytest.mark.parametrize("template", ["classic", "basic"])
def test_the_exported_html_gives_the_image_its_description(template):
    notebook = notebook_with(with_alt_text(curve(frame(labels=("letters",)), ax=plt.figure().subplots()), ALT))
    assert set(notebook.cells[0].outputs[0].data) == {"image/png", "text/plain"}
    html, _ = HTMLExporter(template_name=template).from_notebook_node(notebook)
    (image,) = BeautifulSoup(html, "html.parser").select("img")
    assert image["alt"] == ALT
    assert image["src"].startswith("data:image/png;base64,")
