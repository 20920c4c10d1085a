"""The pages of the site as files: their anchors, links and tables of contents."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path

from tests.documented import ROOT

DOCS = ROOT / "docs"
#: Files of the repository that are pages too, or that people read there.
OUTSIDE = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "src" / "invflow" / "kernels" / "README.md",
]
SITE = sorted([*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")])
#: A page that consists of a file elsewhere.
INCLUDE = re.compile(r"```\{include\} (\S+)\n```\n")


def source(page: Path) -> Path:
    """Return the file that has the text of a page."""
    match = INCLUDE.fullmatch(page.read_text(encoding="utf-8"))
    return (page.parent / match[1]).resolve() if match else page


def text(page: Path) -> str:
    """Return a page in Markdown: of a notebook, its cells of text."""
    content = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return content
    cells = json.loads(content)["cells"]
    return "\n\n".join("".join(e["source"]) for e in cells if e["cell_type"] == "markdown")


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^(`{3,})[^`\n]*\n.*?^\1$", "", text(page), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(source(page)), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", each.lower()) for each in headings]
    return {each.strip().replace(" ", "-") for each in plain}


def links(page: Path) -> list[str]:
    """Return the targets of the links and pictures of a page."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def listed() -> set[Path]:
    """Return the pages that a table of contents of the site names."""
    found = {DOCS / "index.md"}
    for page in DOCS.rglob("*.md"):
        for content in re.findall(r"```\{toctree\}\n(.*?)```", text(page), re.DOTALL):
            for name in re.findall(r"^(?!:)(\S+)$", content, re.MULTILINE):
                pattern = (page.parent / name).as_posix()
                found |= {
                    each for each in SITE if fnmatch(each.with_suffix("").as_posix(), pattern)
                }
    return found
