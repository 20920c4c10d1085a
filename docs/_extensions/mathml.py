"""Formulas as MathML, which browsers draw themselves: no script, no fonts from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

#: The name of a function, unless a bracket follows: TeX sets a thin space after it.
FUNCTION = re.compile(r'(<mi>[a-z]{2,}</mi>)(?!<mo stretchy="false">&#x00028;)')


def _converted(formula: str, display: str) -> str:
    text = convert(formula, display=display)
    text = FUNCTION.sub(r'\1<mspace width="0.17em"/>', text)
    return text.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_converted(node.astext(), "inline"))
    raise nodes.SkipNode


def _display(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(_converted(node.astext(), "block"))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
