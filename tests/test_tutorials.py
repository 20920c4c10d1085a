"""The tutorials are executed notebooks: whole, clean, and they run again from an empty folder."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
NAMES = ["images", "own_flow", "posterior", "simulator", "table"]
#: Folders of the machine on which a notebook was executed.
MACHINE = re.compile(r"/(?:home|root|tmp|work|usr|Users)/|[A-Z]:\\\\")
tutorials = pytest.mark.parametrize("name", NAMES)


@cache
def _notebook(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def _cells(name: str, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in _notebook(name)["cells"] if cell["cell_type"] == kind]


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_every_tutorial_is_tested() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@tutorials
def test_was_executed_from_top_to_bottom(name: str) -> None:
    cells = _cells(name, "code")
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))


@tutorials
def test_outputs_are_clean(name: str) -> None:
    outputs = [output for cell in _cells(name, "code") for output in cell["outputs"]]
    assert not [each for each in outputs if each["output_type"] == "error"]
    assert not [each for each in outputs if each.get("name") == "stderr"]
    assert any("image/png" in each.get("data", {}) for each in outputs)


@tutorials
def test_says_nothing_of_the_machine_and_stays_small(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < 600_000
    assert not MACHINE.search(re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8")))
    assert set(_notebook(name)["metadata"]) == {"kernelspec", "language_info"}


@tutorials
def test_pictures_are_described_for_those_who_do_not_see_them(name: str) -> None:
    """The text stands where MyST-NB looks for it; other metadata of cells are of a session."""
    for cell in _notebook(name)["cells"]:
        found = dict(cell["metadata"])
        if any("image/png" in each.get("data", {}) for each in cell.get("outputs", ())):
            assert len(found.pop("mystnb")["image"]["alt"]) > 20
        assert not found


@tutorials
def test_code_compiles(name: str) -> None:
    for cell in _cells(name, "code"):
        ast.parse(_source(cell))


@tutorials
def test_begins_with_a_title_and_links_exist(name: str) -> None:
    texts = [_source(cell) for cell in _cells(name, "markdown")]
    assert texts[0].startswith("# ")
    links = re.findall(r"\]\(([^)#\s]+)", "\n".join(texts))
    assert links
    for link in links:
        assert "://" in link or (FOLDER / link).is_file(), link


@pytest.mark.slow
@tutorials
def test_runs_from_an_empty_folder(name: str, tmp_path: Path) -> None:
    code = "\n\n".join(_source(cell) for cell in _cells(name, "code"))
    (tmp_path / "tutorial.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "tutorial.py"],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
