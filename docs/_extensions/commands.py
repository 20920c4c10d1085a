"""The directive `commands`: the command line, from the help of its commands."""

from __future__ import annotations

from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from invflow.cli.app import app as command_line


class Commands(SphinxDirective):
    """A section for each command, with its options and examples."""

    def run(self) -> list[nodes.Node]:
        """Write it as Markdown and parse that."""
        group: Any = typer.main.get_command(command_line)
        text = "\n\n".join(_section(name, command) for name, command in group.commands.items())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _section(name: str, command: Any) -> str:
    given = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join(["invflow", name, *(_metavar(each) for each in given), "[OPTIONS]"])
    rows = [f"| {_names(each)} | {_cell(each.help)} | {_default(each)} |" for each in options]
    examples = [line for line in (command.epilog or "").splitlines() if line.startswith("$ ")]
    return "\n".join(
        [
            *(f"## `invflow {name}`", "", command.help or "", ""),
            *("```", usage, "```", ""),
            *("| option | | default |", "| --- | --- | --- |", *rows, ""),
            *("Examples:", "", "```", *examples, "```"),
        ]
    )


def _metavar(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _names(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _default(option: Any) -> str:
    if option.default is None or option.default is False:
        return ""
    return f"`{option.default}`"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", r"\|")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
