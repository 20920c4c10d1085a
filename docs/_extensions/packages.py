"""The directive `package`: the reference of a package, from its `__all__` and its docstrings."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import dropwhile
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Package(SphinxDirective):
    """A table of the public names of a package, and then each of them in full."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write it as Markdown and parse that."""
        package = import_module(self.arguments[0])
        self.env.note_dependency(package.__file__ or "")
        return self.parse_text_to_nodes(text(package), allow_section_headings=True)


def text(package: ModuleType) -> str:
    """Return the reference of a package in Markdown.

    A name that it takes over from one of its own packages is described there.
    """
    public = {name: getattr(package, name) for name in package.__all__}
    homes = {name: home(package, name) for name in public}
    rows = [
        f"| {{py:obj}}`~{homes[name].__name__}.{name}` | {_summary(package, name, value)} |"
        for name, value in public.items()
    ]
    here = {name: value for name, value in public.items() if homes[name] is package}
    details = [_directive(package, name, value) for name, value in here.items()]
    return "\n".join(
        [
            *("```{eval-rst}", f".. automodule:: {package.__name__}", "```", ""),
            *("| | |", "| --- | --- |", *rows, ""),
            *("```{eval-rst}", *details, "```"),
        ]
    )


def home(package: ModuleType, name: str) -> ModuleType:
    """Return the package in which a public name of a package is described."""
    inner = (each for each in _within(package) if name in getattr(each, "__all__", ()))
    value = getattr(package, name)
    return next((each for each in inner if getattr(each, name) is value), package)


def _within(package: ModuleType) -> Iterator[ModuleType]:
    """Yield the modules of a package that have been imported."""
    for name in sorted(sys.modules):
        if name.startswith(f"{package.__name__}."):
            yield sys.modules[name]


def _summary(package: ModuleType, name: str, value: Any) -> str:
    """Return the first paragraph of what is said of a value."""
    if not (inspect.isroutine(value) or isinstance(value, type | ModuleType)):
        return _comment(package, name)
    paragraph = (inspect.getdoc(value) or "").split("\n\n")[0]
    return " ".join(paragraph.split()).replace("|", r"\|")


def _comment(package: ModuleType, name: str) -> str:
    """Return the comment `#:` above a value, in whichever module of the package defines it."""
    pattern = re.compile(rf"((?:^#: .*\n)+){name}\b", re.MULTILINE)
    for module in _within(package):
        if match := pattern.search(Path(module.__file__ or "").read_text(encoding="utf-8")):
            return " ".join(match[1].replace("#:", "").split())
    return ""


def _directive(package: ModuleType, name: str, value: Any) -> str:
    place = f"{package.__name__}.{name}"
    if isinstance(value, ModuleType):
        return f".. automodule:: {place}\n   :members:\n"
    if isinstance(value, type):
        described = dropwhile(lambda each: not _is_described(each), value.__mro__[1:])
        shown = ",".join(each.__name__ for each in described)
        return f".. autoclass:: {place}\n   :members:\n   :inherited-members: {shown}\n"
    if inspect.isroutine(value):
        return f".. autofunction:: {place}\n"
    keys = [f"`{each}`" for each in value] if isinstance(value, Mapping | tuple) else []
    names = f" Names: {', '.join(keys)}." if keys else ""
    return f".. py:data:: {place}\n\n   {_comment(package, name)}{names}\n"


def _is_described(kind: type) -> bool:
    """Whether a class is described on its own, by another library or in a package."""
    *parents, _ = kind.__module__.split(".")
    packages = [sys.modules[".".join(parents[: n + 1])] for n in range(len(parents))]
    public = any(kind.__name__ in getattr(each, "__all__", ()) for each in packages)
    return public or not kind.__module__.startswith("invflow.") or kind.__name__ == "Part"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("package", Package)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
