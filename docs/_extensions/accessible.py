"""What screen readers need and Sphinx leaves out.

The captions of the navigation get the level of a heading, and the arguments of a signature, which
Sphinx sets as a list of definitions without terms, become plain lines.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

ARGUMENTS = re.compile(r"<dl>\n((?:<dd>.*?</dd>\n)+)</dl>")


def _lines(match: re.Match[str]) -> str:
    inside = match[1].replace("<dd>", '<span class="argument">').replace("</dd>", "</span>")
    return f'<span class="arguments">{inside}</span>'


def _complete(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    heading = 'role="heading"'
    navigation = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = navigation.replace(heading, f'{heading} aria-level="2"')
    context["body"] = ARGUMENTS.sub(_lines, context.get("body", ""))


def setup(app: Sphinx) -> dict[str, Any]:
    """Complete each page after the theme has made it."""
    app.connect("html-page-context", _complete, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
