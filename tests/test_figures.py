"""The list of commands behind tables and pictures is complete, and its commands exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from benchmarks.figures import FIGURES, SCRIPT, UNKNOWN, Figure, pages, shown

from tests.documented import ROOT

#: Scripts that pages name without a table or a picture that they made.
WITHOUT = {"examples/many_files.py"}
LISTED = {script for figure in FIGURES for script in SCRIPT.findall(figure.command)}


def test_every_script_that_a_page_names_is_listed() -> None:
    named = {script for page in pages() for script in SCRIPT.findall(page.read_text())}
    assert named - WITHOUT == LISTED
    assert len(LISTED) > 30


def test_every_picture_is_listed() -> None:
    made = {
        name for figure in FIGURES for name in re.findall(r"docs/images/\S+\.png", figure.makes)
    }
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/images").glob("*.png")}
    assert there <= made
    assert len(there) >= 6


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.command)
def test_every_command_exists_and_a_page_shows_what_it_makes(figure: Figure) -> None:
    assert shown(figure)
    for script in SCRIPT.findall(figure.command):
        code = (ROOT / script).read_text()
        for option in re.findall(r"(?<= )--[a-z-]+", figure.command):
            assert f'"{option}"' in code, option
        if action := re.search(r"\.py ([a-z]+)\b", figure.command):
            assert f'"{action[1]}"' in code


def test_it_is_printed() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "figures.py", "NUTS"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("python benchmarks/versus_nuts.py run --data FOLDER\n")
    assert "numpyro" in done.stdout
    assert "docs/explanation/nuts.md" in done.stdout
    assert UNKNOWN not in done.stdout


def test_a_word_that_matches_nothing() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "figures.py", "no-such", "word"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no command has 'no-such' and 'word'\n"


def test_a_reader_that_has_seen_enough() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, ROOT / "benchmarks" / "figures.py"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
