"""One self-contained HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from invflow import _files

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    """What a page says first: how good the results are, in words.

    Attributes:
        level: "good", "usable" or "bad".
        headline: one sentence.
        points: further sentences.
    """

    level: str
    headline: str
    points: Sequence[str] = ()


_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --soft: #8882; }
  body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2.5rem auto;
         padding: 0 1.25rem; }
  h1 { font-size: 1.7rem; margin-bottom: .2rem; }
  h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; }
  p.lead { margin-top: 0; opacity: .75; }
  div.wide { overflow-x: auto; }
  table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
  th, td { padding: .35rem .9rem .35rem 0; text-align: right;
           border-bottom: 1px solid var(--line); }
  th:first-child, td:first-child { text-align: left; }
  td.number { white-space: nowrap; }
  figure { margin: .8rem 0; }
  figure img { max-width: 100%; background: #fff; border-radius: 6px; padding: .5rem;
               box-sizing: border-box; }
  figcaption { opacity: .75; font-size: .93rem; }
  pre { background: var(--soft); padding: .8rem 1rem; border-radius: 6px; font-size: .85rem;
        white-space: pre-wrap; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="lead">{{ lead }}</p>
{% if verdict %}
<section class="verdict {{ verdict.level }}" aria-label="Verdict">
<h2><span class="level">{{ verdict.level }}</span> {{ verdict.headline }}</h2>
{% if verdict.points %}<ul>
{% for point in verdict.points %}<li>{{ point }}</li>
{% endfor %}</ul>{% endif %}
</section>
{% endif %}
{% for section in sections %}
<h2>{{ section.title }}</h2>
{% if section.table %}
<div class="wide"><table>
<tr>{% for cell in section.table[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in section.table[1:] %}<tr>{% for cell in row -%}
<td{% if "±" in cell %} class="number"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% endif %}
{% if section.picture %}
<figure><img alt="{{ section.title }}" src="data:image/png;base64,{{ section.picture }}"></figure>
{% endif %}
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% if section.code %}<pre>{{ section.code }}</pre>{% endif %}
{% endfor %}
</body>
</html>
"""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        title: the heading.
        table: rows of cells, the first being the head.
        picture: a PNG, base64-encoded.
        text: a paragraph.
        code: preformatted text.
    """

    title: str
    table: Sequence[Sequence[str]] = ()
    picture: str = ""
    text: str = ""
    code: str = ""


def encoded(figure: Figure) -> str:
    """Return a figure as a base64-encoded PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


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

    Raises:
        ImportError: if Jinja is not installed.
    """
    require()
    from jinja2 import Environment

    template: Any = Environment(autoescape=True).from_string(_TEMPLATE)
    text = template.render(title=title, lead=lead, sections=sections, verdict=verdict)
    # File names may contain bytes that are not text.
    _files.write_text(path, text.encode("utf-8", "replace").decode("utf-8"))
