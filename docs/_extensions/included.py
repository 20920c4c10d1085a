"""Pages that are files elsewhere in the repository: their links are made to lead into the site."""

from __future__ import annotations

import re
from os.path import relpath
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
INCLUDE = re.compile(r"```\{include\} (\S+)\n```\n")


def _included(source: Path) -> Path | None:
    """Return the file that a page consists of."""
    match = INCLUDE.fullmatch(source.read_text(encoding="utf-8"))
    return (source.parent / match[1]).resolve() if match else None


def _read(app: Sphinx, name: str, content: list[str]) -> None:
    page = Path(app.env.doc2path(name))
    if page.suffix != ".md" or not (file := _included(page)):
        return
    pages = {_included(each): each for each in Path(app.srcdir).rglob("*.md")}

    def led(match: re.Match[str]) -> str:
        target = (file.parent / match[1]).resolve()
        there = pages.get(target, target)
        if not there.is_relative_to(app.srcdir):
            return f"({relpath(there, ROOT)})"
        return f"({relpath(there, page.parent)}{match[2] or ''})"

    content[0] = re.sub(
        r"(?<=\])\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)", led, file.read_text(encoding="utf-8")
    )
    app.env.note_dependency(str(file), docname=name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Replace pages that include a file by that file."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
