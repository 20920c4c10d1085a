"""Docstrings are plain text with `code`, *emphasis* and $formulas$; Sphinx expects more markup.

What reStructuredText would take as markup is escaped: the star of (*batch, features), the bars of
|x|, and the underscore of names such as log_cell_.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

#: What stays as it is, or becomes a formula: examples, code, emphasis and formulas.
KEPT = re.compile(
    r"(?P<code>``.+?``|`[^`]+`)"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|\$(?P<formula>[^$]+)\$"
    r"|(?P<emphasis>(?<![\w(*\[])\*[A-Za-z][^*,()]*\*(?!\w))",
    re.DOTALL,
)
EXAMPLE = re.compile(r"(^ *>>> .*(?:\n.+)*)", re.MULTILINE)


def converted(text: str) -> str:
    """Return a docstring in reStructuredText."""
    # Results are described without a type, which napoleon would find before the first colon.
    text = re.sub(r"^( *)(Returns|Yields):\n( +)", r"\1\2:\n\3: ", text, flags=re.MULTILINE)
    parts = EXAMPLE.split(text)
    return "".join(part if i % 2 else _prose(part) for i, part in enumerate(parts))


def _prose(text: str) -> str:
    done, last = "", 0
    for match in KEPT.finditer(text):
        done += _escaped(text[last : match.start()]) + _markup(match, text)
        last = match.end()
    return done + _escaped(text[last:])


def _markup(match: re.Match[str], text: str) -> str:
    if match["formula"]:
        return f":math:`{' '.join(match['formula'].split())}`"
    if match["display"]:
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        indent = " " * (len(line) - len(line.lstrip()))
        return f"\n\n{indent}.. math:: {' '.join(match['display'].split())}\n\n{indent}"
    return match[0]


def _escaped(text: str) -> str:
    text = re.sub(r"(?<!\\)\\(?=\S)", r"\\\\", text)
    text = re.sub(r"\||(?<!\*)\*(?=[\w*])|(?<=\w)\*|(?<=\w)_(?=\W|$)", r"\\\g<0>", text)
    return re.sub(r"^( *)\\([*] )", r"\1\2", text, flags=re.MULTILINE)


def _process(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = converted("\n".join(lines)).split("\n")


def _skip(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of a named tuple, which its docstring lists."""
    generated = (getattr(value, "__doc__", None) or "").startswith("Alias for field number")
    return True if generated else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Convert docstrings before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
