"""The examples of the documentation pages run alone, and the commands that pages name exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from invflow.cli.app import app
from tests.documented import PAGES, ROOT, Block, blocks, spans

COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands)  # pyright: ignore
#: Options of the scripts of `benchmarks/` and `examples/`, which pages name as well.
FOLDERS = ("benchmarks", "examples")
SCRIPTS = "".join(path.read_text() for each in FOLDERS for path in (ROOT / each).rglob("*.py"))


BLOCKS = blocks(*PAGES[1:])
COMPILED = [block for block in BLOCKS if "from_stan(program" in block.text]


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block not in COMPILED], ids=lambda block: block.name
)
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_a_block_runs_alone(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if block.missing:
        pytest.skip(f"needs {' and '.join(block.missing)}")
    monkeypatch.chdir(tmp_path)
    block.run()


@pytest.mark.slow
@pytest.mark.parametrize("block", COMPILED, ids=lambda block: block.name)
def test_a_block_with_a_stan_program_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpstan", reason="needs httpstan")
    monkeypatch.setenv("INVFLOW_CACHE", str(tmp_path))
    assert {"a", "b", "sigma", "y_rep[4]"} <= set(block.run()["posterior"].summary().index)


def options(command: str) -> set[str]:
    parameters = COMMANDS[command].params
    return {name for each in parameters for name in (*each.opts, *each.secondary_opts)} | {"--help"}


def _parse(line: str) -> None:
    """Parse an `invflow` command as the command line does, without running it."""
    program, *arguments = shlex.split(line)
    assert program == "invflow"
    if arguments[0].startswith("-"):
        assert arguments == ["--help"]
        return
    command = COMMANDS[arguments[0]]
    context = command.make_context(arguments[0], ["--help"], resilient_parsing=True)
    given, left, _ = command.make_parser(context).parse_args(arguments[1:])
    assert not left
    # A command that is only named has no arguments.
    missing = [each.name for each in command.params if each.required and not given.get(each.name)]
    assert not missing or len(arguments) == 1, f"{line}: no {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_are_those_that_there_are(page: Path) -> None:
    for span in spans(page):
        if span.startswith("invflow "):
            _parse(span.removesuffix(" ..."))
    for block in blocks(page, language="") + blocks(page, language="sh"):
        for line in block.text.splitlines():
            if line.startswith("invflow "):
                _parse(line)


@pytest.mark.parametrize(
    "line",
    ["invflow densty a.csv", "invflow density a.csv --stepz 3", "invflow compare", "invflow -x"],
)
def test_a_command_that_there_is_not_is_noticed(line: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  (of whatever kind the parser has)
        _parse(f"{line} --help-me" if line.endswith("compare") else line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_are_those_that_there_are(page: Path) -> None:
    ours = {name for command in COMMANDS for name in options(command)}
    for span in spans(page):
        if span.startswith("pip "):
            continue
        for name in re.findall(r"(?<!\S)--[a-z][a-z-]*", span):
            assert name in ours or f'"{name}"' in SCRIPTS, f"{page.name}: {span}"


def test_the_kernels_readme_names_every_file() -> None:
    folder = ROOT / "src" / "invflow" / "kernels"
    rows = re.findall(r"^\| (`.*?) \|", (folder / "README.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall("`(.*?)`", row)]
    files = [path for kind in ("py", "c", "h") for path in folder.rglob(f"*.{kind}")]
    there = {path.relative_to(folder).as_posix() for path in files if path.stem != "__init__"}
    assert sorted(named) == sorted({"gpu/", *(each for each in there if "gpu/" not in each)})


def test_targets_of_make_are_those_that_there_are() -> None:
    rules = re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = set(" ".join(rules).split())
    lines = [line for page in PAGES for line in spans(page)]
    lines += [line for block in blocks(*PAGES, language="") for line in block.text.splitlines()]
    named = {line.split()[1] for line in lines if line.startswith("make ")}
    assert {"run", "test"} <= named <= targets
