"""One plot function over a grid of choices: static small multiples, or the same plot behind widgets."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from adaptlab.evidence.figures import put_title
from adaptlab.evidence.record import with_alt_text

MAX_PANELS = 6
_PANEL = (4.2, 3.1)  # inches


def explore(draw: Callable[..., Any], *, interactive: bool = False, alt: str = "", **choices: Sequence[Any]) -> Any:
    """Show ``draw(ax=..., **choice)`` for the choices given, e.g. ``explore(draw, shots=[0, 4], labels=["words"])``.

    ``draw`` draws on ``ax`` and nothing else: it reads no widget and changes no state, so both
    renderings show the same. Static (the default, and what tests, HTML and print see): one
    described picture, the first list of several values across, the second down, each panel titled
    with its choice. Interactive: one control for each list, with the current choice as text.

    Raises ``ValueError`` for an empty list, and where a static grid would need more than six panels
    or a third direction.
    """
    lists = {name: list(values) for name, values in choices.items()}
    if not lists or not all(lists.values()):
        raise ValueError("explore needs a list of at least one value for each choice, e.g. shots=[0, 4, 16]")
    return _widgets(draw, lists, alt) if interactive else _grid(draw, lists, alt)


def _state(choice: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in choice.items())


def _grid(draw: Callable[..., Any], lists: dict[str, list], alt: str) -> Any:
    varied = [name for name, values in lists.items() if len(values) > 1]
    across, down = (lists[varied[0]] if varied else [None]), (lists[varied[1]] if len(varied) > 1 else [None])
    if len(varied) > 2 or len(across) * len(down) > MAX_PANELS:
        sizes = " x ".join(f"{len(lists[name])} {name}" for name in varied)
        limit = f"at most {MAX_PANELS} panels over at most two lists"
        raise ValueError(
            f"static view: {sizes} is too many panels ({limit}); shorten the lists or use interactive=True"
        )
    width, height = _PANEL
    figure, axes = plt.subplots(
        len(down),
        len(across),
        squeeze=False,
        sharey=True,
        layout="constrained",
        figsize=(width * len(across), height * len(down)),
    )
    fixed = {name: values[0] for name, values in lists.items()}
    for (row, low), (column, high) in itertools.product(enumerate(down), enumerate(across)):
        choice = fixed | dict(zip(varied, (high, low), strict=False))
        _panel(draw, axes[row][column], choice)
        if column:
            axes[row][column].set_ylabel("")  # the panels of a row share it
    # So do all panels the label below, which is longer than one of them is wide.
    figure.supxlabel(axes[0][0].get_xlabel(), fontsize=10)
    for ax in axes.flat:
        ax.set_xlabel("")
    return with_alt_text(figure, alt or _default_alt(lists))


def _panel(draw: Callable[..., Any], ax: Axes, choice: dict[str, Any]) -> None:
    draw(ax=ax, **choice)
    put_title(ax, _state(choice))


def _default_alt(lists: dict[str, list]) -> str:
    return "Panels for " + "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in lists.items())


def _widgets(draw: Callable[..., Any], lists: dict[str, list], alt: str) -> Any:
    controls = {name: _control(name, values) for name, values in lists.items()}
    # Left to itself a box stretches the image to the page's width.
    label, image = ipywidgets.Label(), ipywidgets.Image(format="png", layout={"align_self": "flex-start"})

    def update(_: object = None) -> None:
        choice = {name: control.value for name, control in controls.items()}
        try:
            image.value = _picture(draw, choice, alt or _default_alt(lists))
        except Exception as error:
            # A callback's error reaches only the server's log: say on the page that the image is stale.
            label.value = f"{_state(choice)}: not drawn ({error})"
            raise
        label.value = _state(choice)

    for control in controls.values():
        control.observe(update, names="value")
    update()
    return ipywidgets.VBox([*controls.values(), label, image])


def _picture(draw: Callable[..., Any], choice: dict[str, Any], alt: str) -> bytes:
    figure, ax = plt.subplots(figsize=_PANEL, layout="constrained")
    try:
        _panel(draw, ax, choice)
        return with_alt_text(figure, alt).png
    finally:
        plt.close(figure)


def _control(name: str, values: list) -> ipywidgets.Widget:
    ordered = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    kind = ipywidgets.SelectionSlider if ordered else ipywidgets.Dropdown
    wait = {"continuous_update": False} if ordered else {}
    return kind(options=values, value=values[0], description=name, **wait)
