"""A world's hierarchy as a picture: what is stated, and what one category inherits."""

from collections import defaultdict

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from adaptlab.tasks.knowledge import ALL, Fact
from adaptlab.tasks.worlds import World
from adaptlab.tasks.worlds_structure import ancestors

STATED = {"color": "0.65", "linewidth": 1}
ABOUT, INFERRED = {"edgecolor": "C1"}, {"edgecolor": "C1", "linestyle": (0, (3, 2))}


def hierarchy(world: World, about: str = "", ax: Axes | None = None) -> Axes:
    """The categories of a structure as trees, parents above; lines are what documents say.

    Dashed boxes show which categories ``about``, in the solid box, belongs to without any document saying so; left
    out, it is the one with the longest line of ancestors.
    """
    axes = ax or plt.gca()
    parent = {fact.a: fact.b for fact in sorted(world.stated, key=_sentence) if fact.form == ALL}
    about = about or max(sorted(parent), key=lambda name: len(ancestors(parent, name)))
    boxes = {about: ABOUT} | dict.fromkeys(ancestors(parent, about)[1:], INFERRED)
    places = _places(parent)
    for child, over in parent.items():
        axes.plot(*zip(places[child], places[over], strict=True), **STATED, zorder=1)
    inches = axes.get_position().width * axes.figure.get_figwidth()
    size = min(8, 22 * inches / (1 + max(x for x, _ in places.values())))  # points: else neighbours overlap
    for name, (x, y) in places.items():
        box = {"facecolor": "white", "pad": 2} | boxes.get(name, {"edgecolor": "none"})
        axes.text(x, y, name, ha="center", va="center", fontsize=size, bbox=box, zorder=2)
    axes.set_axis_off()
    axes.margins(0.06, 0.1)
    return axes


def _sentence(fact: Fact) -> str:
    return fact.sentence


def _places(parent: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Leaves side by side in the order of their trees, everybody else above the middle of its children."""
    children = defaultdict(list)
    for child, over in parent.items():
        children[over].append(child)
    places: dict[str, tuple[float, float]] = {}

    def place(name: str, x: float, depth: int) -> float:
        """Where the next leaf to the right of this family goes."""
        right = x
        for child in children[name]:
            right = place(child, right, depth + 1)
        inner = [places[child][0] for child in children[name]]
        places[name] = ((inner[0] + inner[-1]) / 2 if inner else x, -depth)
        return max(right, x + 1)

    x = 0.0
    for root in sorted(set(parent.values()) - set(parent)):
        x = place(root, x, 0)
    return places
