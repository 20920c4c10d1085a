"""What README and the documentation pages show: blocks of Python, and commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Tools of others, without which the examples that import them are left out.
TOOLS = (
    "huggingface_hub",
    "lampe",
    "lightning",
    "nessai",
    "optuna",
    "pocomc",
    "sbi",
    "zuko",
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the line of the page that it begins on."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """The page and the line."""
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def missing(self) -> list[str]:
        """The tools that it imports and that are not installed."""
        imported = re.findall(r"^(?:from|import) (\w+)", self.text, re.MULTILINE)
        adapted = re.findall(r"^from invflow\.adapters\.(\w+)", self.text, re.MULTILINE)
        return [tool for tool in TOOLS if tool in {*imported, *adapted} and not find_spec(tool)]

    def run(self) -> dict[str, Any]:
        """Run it as if it were all that there is, and return the names that it makes."""
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile("\n" * (self.line - 1) + self.text, str(self.page), "exec"), names)
        return names


def blocks(*pages: Path, language: str = "python") -> list[Block]:
    """Return the blocks of pages that are in a language; "" is none."""
    found: list[Block] = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
            line = text.count("\n", 0, match.start(2)) + 1
            found.append(Block(page, line, match[1].strip(), match[2]))
    return [block for block in found if block.language == language]


def spans(page: Path) -> list[str]:
    """Return what a page sets as code within a line, breaks of the line taken out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
