"""A finished figure with its description, as one displayed object."""

import base64
import io
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

DPI = 96


@dataclass(frozen=True)
class Picture:
    """A finished figure as it goes into a notebook: PNG bytes and the text that stands in for them.

    ``alt`` is the text/plain output too, which nbval compares: keep measured numbers out of it.
    """

    png: bytes
    alt: str

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        encoded = base64.b64encode(self.png).decode("ascii")
        return {"image/png": encoded, "text/plain": self.alt}, {"image/png": {"alt": self.alt}}


def described(ax: Axes | Figure, alt: str) -> Picture:
    """Finish a figure: render it once at 96 dpi with its alternative text, and close it.

    ``alt`` says what is plotted, for readers who do not see the image. Takes an Axes (its whole
    figure is rendered) or a Figure. Raises ``ValueError`` if ``alt`` is empty.
    """
    if not alt.strip():
        raise ValueError("a figure needs a description: alt is empty")
    figure = ax.get_figure(root=True) if isinstance(ax, Axes) else ax
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, bbox_inches="tight", facecolor="white")
    plt.close(figure)  # else the inline backend shows it a second time
    Image.open(drawn).convert("RGB").quantize(256).save(small, "png", optimize=True)  # a third of the bytes
    return Picture(small.getvalue(), " ".join(alt.split()))
