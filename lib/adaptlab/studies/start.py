"""For notebook 00: the notebooks as a map."""

import textwrap

import matplotlib.pyplot as plt
import nbformat
import seaborn as sns
from matplotlib.figure import Figure

from adaptlab import paths

# What the notebooks are about, by the first two signs of their numbers, in the order of the columns.
COLUMNS = {
    "the kit": ("00", "A1", "A2", "A3", "07"),
    "data": ("01",),
    "show": ("02", "03"),
    "train": ("04",),
    "tell itself": ("05",),
    "sharpen": ("06",),
}
WIDTH = 21  # letters in a line of a box


def titles() -> dict[str, str]:
    """The question of each notebook by its number."""
    found = {}
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        first = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0]
        found[path.stem.split("_")[0]] = first.removeprefix("# ")
    return found


def notebook_map() -> Figure:
    """A box with number and question for each notebook, in columns by what the notebooks are about."""
    questions = titles()
    columns = {name: [n for n in questions if n[:2] in numbers] for name, numbers in COLUMNS.items()}
    columns = {name: numbers for name, numbers in columns.items() if numbers}
    rows = max(map(len, columns.values()))
    figure, axes = plt.subplots(figsize=(13, 0.6 + 1.2 * rows), layout="constrained")
    for (x, (name, numbers)), colour in zip(enumerate(columns.items()), sns.color_palette("colorblind"), strict=False):
        axes.text(x, 0.62, name, ha="center", va="bottom", fontsize=13, fontweight="bold", color=colour)
        for y, number in enumerate(numbers):
            text = f"{number}\n" + textwrap.fill(questions[number], WIDTH)
            box = {"boxstyle": "round,pad=0.5", "facecolor": "none", "edgecolor": colour, "linewidth": 1.5}
            axes.text(x, -y * 1.2, text, ha="center", va="center", fontsize=9, bbox=box)
    axes.set(xlim=(-0.6, len(columns) - 0.4), ylim=(0.6 - 1.2 * rows, 1))
    axes.axis("off")
    return figure
