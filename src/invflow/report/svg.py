"""Figures as SVG that is part of a page: it has the page's font and colours, light or dark."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Lines and points have one of these colours; `style.css` has the same ones for light pages, and
#: others for dark ones.
COLOURS = (
    "#1f6fb4",
    "#d95f02",
    "#1b8a5a",
    "#c8364a",
    "#7d55c7",
    "#8c564b",
    "#c2439c",
    "#6b7280",
    "#82820f",
    "#0f8b9d",
)
#: Dots per inch of what is drawn as a bitmap within a figure.
DPI = 180


def drawn(figure: Figure, name: str) -> str:
    """Return a figure as an element of a page.

    Text stays text, in the font of the page. What is black has the colour of the page's text.

    Args:
        figure: drawn.
        name: begins the ids of its parts; no two figures of a page may have the same.
    """
    from matplotlib import rc_context

    figure.patch.set_visible(False)
    for axis in figure.axes:
        axis.patch.set_visible(False)
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<!--.*?-->|<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = text[text.index("<svg") :]
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"<[^>]+>", lambda tag: _restyled(tag[0]), text)  # not what is between tags
    return _with_own_ids(re.sub(r"\s*\n\s*", "\n", text), name)


def _restyled(tag: str) -> str:
    """Return a tag with the page's font and colours, as short as it can be."""
    tag = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", tag)
    tag = tag.replace("xlink:href", "href").replace("#000000", "currentColor")
    tag = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", tag)
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag)
    tag = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", tag)
    for i, colour in enumerate(COLOURS):
        tag = tag.replace(colour, f"var(--c{i})")
    return tag


def has_points(figure: Figure) -> bool:
    """Return whether a figure has points that are drawn as a bitmap."""
    return bool(figure.findobj(lambda artist: bool(artist.get_rasterized())))


def _with_own_ids(text: str, name: str) -> str:
    """Keep the ids that something refers to, under a name of the figure's own."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    text = re.sub(
        r' id="([^"]+)"',
        lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "",
        text,
    )
    return re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", text)
