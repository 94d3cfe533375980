"""One set of charts for files, TensorBoard and pages: matplotlib figures in the house style, as SVG or PNG."""

import hashlib
import io
import re
import warnings
import xml.etree.ElementTree as ET
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

PALETTE = {
    "paper": "#fbfbf9",
    "well": "#f1f1ed",
    "rule": "#e3e3dd",
    "ink": "#1f2328",
    "soft": "#5c636b",
    "faint": "#70767e",
    "female": "#7b64a8",
    "male": "#4fa39a",
    "stop": "#b3261e",
    "warn": "#986000",
    "mark": "#2f6690",
}
"""The light theme of page.css. Charts take their colours from here; on a page they follow its theme."""

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


def house_style() -> AbstractContextManager[None]:
    """Hold it while a chart is drawn, for words that are added to it."""
    return matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",  # matplotlib brings it; wider than a page's font: nothing runs over
            "font.size": 8,
            "text.color": PALETTE["ink"],
            "text.parse_math": False,  # a camera may be called $1
            "axes.titlesize": 8.5,
            "axes.titlelocation": "left",
            "axes.titlepad": 9,
            "axes.titlecolor": PALETTE["ink"],
            "axes.labelsize": 8,
            "axes.labelcolor": PALETTE["soft"],
            "axes.edgecolor": PALETTE["rule"],
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.unicode_minus": False,
            "grid.color": PALETTE["rule"],
            "grid.linewidth": 0.6,
            "xtick.color": PALETTE["rule"],
            "ytick.color": PALETTE["rule"],
            "xtick.labelcolor": PALETTE["soft"],
            "ytick.labelcolor": PALETTE["soft"],
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "xtick.major.size": 0,
            "ytick.major.size": 0,
        }
    )


def charts(width_inches: float, height_inches: float, rows: int, columns: int, **grid: Any) -> tuple[Figure, NDArray]:
    """A figure of several empty charts that share their axes.

    Args:
        grid: as of `Figure.subplots`, where something else is wanted.

    Returns:
        The figure and its Axes, (rows, columns).
    """
    with house_style():
        figure = Figure((width_inches, height_inches), layout="constrained", facecolor="white")
        return figure, figure.subplots(rows, columns, **{"sharex": True, "sharey": True, **grid}, squeeze=False)


def chart(width_inches: float = 4.2, height_inches: float = 3.0) -> tuple[Figure, Axes]:
    """An empty chart in the house style. At 4.2 inches its words can be read on a page as wide as a phone."""
    figure, axes = charts(width_inches, height_inches, 1, 1)
    return figure, axes[0, 0]


def figure_png(figure: Figure) -> bytes:
    """For files and TensorBoard, on white."""
    return _saved(figure, format="png", dpi=150, metadata={"Software": None})


def figure_svg(figure: Figure) -> Markup:
    """For a page: words stay text in the page's font, colours follow its theme, nothing is fetched or run.

    The same figure gives the same text. Its name for screen readers is the label of the figure, or the titles in it.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gender_cls"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        file = _saved(figure, format="svg", transparent=True, metadata=nothing)
    root = ET.fromstring(file)
    # The style element, written for a file of its own, would hold for the whole page.
    for parent in root.iter(f"{SVG}defs"):
        for style in parent.findall(f"{SVG}style"):
            parent.remove(style)
    prefix = f"f{hashlib.sha256(file).hexdigest()[:8]}-"  # figures on one page share no id
    used = set(re.findall(rb'(?:url\(|href=")#([^)"]+)', file))
    for element in root.iter():
        element.text, element.tail = (element.text or "").strip() or None, None
        element.tag = element.tag.removeprefix(SVG)
        identifier = element.attrib.pop("id", "")
        if identifier.encode() in used:
            element.set("id", prefix + identifier)
        if LINK in element.attrib:
            element.set("href", element.attrib.pop(LINK).replace("#", f"#{prefix}"))
        for name, value in element.attrib.items():
            element.set(name, _on_the_page(value, prefix) if name != "href" else value)
    root.attrib.pop("width")
    root.attrib.pop("height")
    titles = [axes.get_title("left") or axes.get_title() for axes in figure.axes]
    root.attrib |= {"xmlns": SVG.strip("{}"), "role": "img", "stroke-linejoin": "round"}
    root.set("aria-label", str(figure.get_label()) or ", ".join(title for title in titles if title))
    return Markup(ET.tostring(root, encoding="unicode"))


def _saved(figure: Figure, **options: Any) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a page has fonts for it, a PNG shows a box
        figure.savefig(file, **options)
    return file.getvalue()


def _on_the_page(value: str, prefix: str) -> str:
    """An attribute's value with the page's colours and font, an own id and no more digits than can be seen."""
    for name, colour in PALETTE.items():
        value = value.replace(colour, f"var(--{name})")
    value = re.sub(r" ?font-family: [^;]*;", "", value).replace("url(#", f"url(#{prefix}")
    value = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
    return " ".join(value.split())
