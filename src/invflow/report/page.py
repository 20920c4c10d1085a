"""One self-contained HTML page."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from invflow import _files
from invflow.report import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Pixels of a page per inch of a figure.
PIXELS = 96
#: Figures up to this width, in inches, are read without scrolling on a small screen.
NARROW = 4.9
#: What a cell begins with that is text, and a number with its error.
_WORD = re.compile(r"(?!nan|inf)[^\W\d_]")
_NUMBER = re.compile(r"\S+ ± \S+$")


class Brief(NamedTuple):
    """What a terminal shows of a run.

    Attributes:
        title: of the table.
        head: its first row.
        rows: the others.
        notes: lines below it.
    """

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """What a page says first: how good the results are, as text.

    Attributes:
        level: "good", "usable" or "bad"; of a comparison, "clear" or "unclear".
        headline: one sentence.
        points: further sentences.
    """

    level: str
    headline: str
    points: Sequence[str] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that a terminal shows.

        Example:
            >>> Verdict("good", "iaf is best.", ["It is ahead of full."]).lines
            ('good: iaf is best.', '- It is ahead of full.')
        """
        return (f"{self.level}: {self.headline}", *(f"- {point}" for point in self.points))


@dataclass(frozen=True)
class Panel:
    """A figure, or one of several that stand side by side where there is room.

    Attributes:
        figure: what is drawn.
        alt: what it shows, for those who do not see it.
        title: above it.
        starts: whether it begins a new line.
    """

    figure: Figure
    alt: str
    title: str = ""
    starts: bool = False


class Explore(NamedTuple):
    """What can be looked at more closely, with a browser that runs scripts.

    Attributes:
        summary: says what, on the line that opens it.
        data: JSON values; its "kind" names a function in `look/page.js`.
    """

    summary: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        title: the heading.
        table: rows of cells, the first being the head.
        panels: figures.
        explore: the same for a closer look.
        text: a paragraph; below figures, their caption.
        code: preformatted text.
        folded: more preformatted text, which is shown when it is asked for.
    """

    title: str
    table: Sequence[Sequence[str]] = ()
    panels: Sequence[Panel] = ()
    explore: Explore | None = None
    text: str = ""
    code: str = ""
    folded: str = ""


def require() -> None:
    """Check that reports can be written, before the work that they report on.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    missing = [name for name in ("matplotlib", "jinja2") if find_spec(name) is None]
    if missing:
        raise ImportError(f'reports need {" and ".join(missing)}: pip install "invflow[report]"')


def write(
    path: Path,
    title: str,
    lead: str,
    sections: Sequence[Section],
    verdict: Verdict | None = None,
) -> None:
    """Write a page, whole or not at all.

    Args:
        path: of the file.
        title: of the page.
        lead: the line below it.
        sections: of the page.
        verdict: what it says first.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    require()
    from jinja2 import Environment

    scripts, styles = ["page.js"], ["style.css"]
    if any(section.explore for section in sections):
        scripts, styles = ["uPlot.iife.min.js", *scripts], ["uPlot.min.css", *styles]
    environment = Environment(autoescape=True)
    environment.filters["unbroken"] = _unbroken
    template: Any = environment.from_string(_look("page.html"))
    text = template.render(
        title=title,
        lead=lead,
        verdict=verdict,
        sections=[_shown(section) for section in sections],
        style="\n".join(map(_look, styles)),
        script="\n".join(map(_look, scripts)),
    )
    # File names may contain bytes that are not text.
    _files.write_text(path, text.encode("utf-8", "replace").decode("utf-8"))


def _unbroken(text: str) -> str:
    """Return text as HTML whose lines end neither within options nor within numbers with errors."""
    text = html.escape(text).replace(" ± ", "&nbsp;±&nbsp;")
    return re.sub(r"--[a-z][a-z-]*", r"<code>\g<0></code>", text)


def _look(name: str) -> str:
    return (files("invflow.report") / "look" / name).read_text(encoding="utf-8")


def _shown(section: Section) -> dict[str, Any]:
    """Return what the template shows of a section."""
    id = re.sub(r"\W+", "-", section.title.lower()).strip("-")
    panels = [_panel(each, f"{id}-{i}") for i, each in enumerate(section.panels)]
    return {**vars(section), "id": id, "panels": panels, "table": _cells(section.table)}


def _cells(table: Sequence[Sequence[str]]) -> list[list[dict[str, str]]]:
    """Return the cells of a table: columns of text to the left, numbers on one line."""
    texts = [any(_WORD.match(cell) for cell in column) for column in zip(*table[1:], strict=True)]
    looks = ["text" if text else "" for text in texts] or [""] * len(table[0] if table else ())
    return [
        [
            {"text": cell, "look": look or ("number" if _NUMBER.match(cell) else "")}
            for cell, look in zip(row, looks, strict=True)
        ]
        for row in table
    ]


def _panel(panel: Panel, name: str) -> dict[str, Any]:
    """Return what the template shows of a figure."""
    wide = float(panel.figure.get_figwidth())
    points = ' class="points"' if svg.has_points(panel.figure) else ""
    said = f'<svg role="img" aria-label="{html.escape(panel.alt)}"{points}'
    return {
        "title": panel.title,
        "alt": panel.alt,
        "starts": panel.starts,
        "width": round(PIXELS * wide),
        "narrow": wide <= NARROW,
        "svg": svg.drawn(panel.figure, name).replace("<svg", said, 1),
    }
