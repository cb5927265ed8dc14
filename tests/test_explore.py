"""One plot function, two renderings that show the same."""

import ipywidgets
import matplotlib
import matplotlib.pyplot as plt
import pytest

from adaptlab.evidence.explore import explore
from adaptlab.evidence.record import Picture


@pytest.fixture(autouse=True)
def headless():
    matplotlib.use("agg")
    yield
    assert plt.get_fignums() == []


class Draw:
    """A pure plot function that remembers what it was asked."""

    def __init__(self):
        self.seen = []

    def __call__(self, ax, **choice):
        self.seen.append(choice)
        ax.plot([0, 1], [0, len(str(choice))])
        ax.set_ylabel("accuracy")


def test_the_static_view_draws_every_combination_once_and_is_described():
    draw = Draw()
    got = explore(draw, shots=[0, 4, 16], labels=["words", "letters"])
    assert isinstance(got, Picture) and got.png.startswith(b"\x89PNG")
    assert got.alt == "Panels for shots: 0, 4, 16; labels: words, letters"
    assert draw.seen == [{"shots": k, "labels": la} for la in ("words", "letters") for k in (0, 4, 16)]


def test_the_first_list_runs_across_and_the_second_down(monkeypatch):
    kept = {}
    monkeypatch.setattr(
        "adaptlab.evidence.explore.with_alt_text", lambda figure, alt: kept.update(figure=figure) or alt
    )
    assert explore(Draw(), alt="mine", shots=[0, 4], model=["tiny"], labels=["a", "b", "c"]) == "mine"
    axes = kept["figure"].axes
    assert [ax.get_title() for ax in axes[:3]] == [
        "shots=0, model=tiny, labels=a",
        "shots=4, model=tiny, labels=a",
        "shots=0, model=tiny, labels=b",
    ]
    places = {ax.get_title(): ax.get_subplotspec() for ax in axes}
    last = places["shots=4, model=tiny, labels=c"]
    assert (last.rowspan.start, last.colspan.start) == (2, 1)
    assert len({ax.get_ylim() for ax in axes}) == 1
    plt.close(kept["figure"])


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"shots": [0, 1, 2, 3], "labels": ["a", "b"]}, "4 shots x 2 labels is too many panels .at most 6"),
        ({"a": [1, 2], "b": [1, 2], "c": [1, 2]}, "2 a x 2 b x 2 c is too many"),
        ({"shots": []}, "at least one value"),
        ({}, "at least one value"),
    ],
)
def test_grids_that_nobody_could_read_are_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        explore(Draw(), **choices)


def parts(box):
    *controls, label, image = box.children
    return {control.description: control for control in controls}, label, image


def test_widgets_start_at_the_first_choice_and_follow_the_controls():
    draw = Draw()
    controls, label, image = parts(explore(draw, interactive=True, shots=[0, 4, 16], labels=["words", "letters"]))
    assert isinstance(controls["shots"], ipywidgets.SelectionSlider)
    assert isinstance(controls["labels"], ipywidgets.Dropdown)
    assert label.value == "shots=0, labels=words"
    first = bytes(image.value)
    assert first.startswith(b"\x89PNG")

    controls["shots"].value = 16
    assert label.value == "shots=16, labels=words"
    assert bytes(image.value) != first and draw.seen[-1] == {"shots": 16, "labels": "words"}

    controls["labels"].value = "letters"
    assert label.value == "shots=16, labels=letters"
    controls["shots"].value, controls["labels"].value = 0, "words"
    assert bytes(image.value) == first  # the state decides the image, not the way to it


def test_widgets_have_no_limit_of_panels():
    controls, _, _ = parts(explore(Draw(), interactive=True, a=list(range(20)), b=[True, False], c=["x", "y"]))
    assert len(controls) == 3 and isinstance(controls["b"], ipywidgets.Dropdown)


def test_both_views_draw_the_same_plot_for_the_same_choice():
    one = explore(Draw(), shots=[4], labels=["words"])
    _, _, image = parts(explore(Draw(), interactive=True, shots=[4], labels=["words"]))
    assert bytes(image.value) == one.png


def test_a_choice_that_cannot_be_drawn_says_so_beside_the_old_image():
    def draw(ax, shots):
        if shots == 4:
            raise ValueError("no rows")
        ax.plot([shots])

    controls, label, image = parts(explore(draw, interactive=True, shots=[0, 4, 16]))
    before = bytes(image.value)
    with pytest.raises(ValueError, match="no rows"):
        controls["shots"].value = 4
    assert label.value == "shots=4: not drawn (no rows)"
    assert bytes(image.value) == before
    controls["shots"].value = 16
    assert label.value == "shots=16"
