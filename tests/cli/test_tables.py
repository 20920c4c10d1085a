"""The page on tables: its commands run in order, and say what it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Invflow
from tests.documented import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "tables.md"


def test_the_walk_through_one_file(
    invflow: Invflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks(PAGE)[0].run()
    commands = [line for each in blocks(PAGE, language="sh") for line in each.text.splitlines()]
    asked, decided, rows = [each.text for each in blocks(PAGE, language="text")]
    first, second, *others = [shlex.split(line)[1:] for line in commands]
    code, _, err = invflow(*first)
    assert (code != 0, err.strip()) == (True, asked.strip())
    code, _, err = invflow(*second)
    assert code == 0
    assert [line for line in err.splitlines() if line.startswith("invflow")] == decided.splitlines()
    for each in others:
        assert invflow(*each)[0] == 0
    drawn = Path("runs/visits/samples.csv").read_text().splitlines()
    shapes = [[re.sub(r"\d+", "0", line) for line in each] for each in (drawn, rows.splitlines())]
    assert drawn[0] == rows.splitlines()[0]
    assert {re.sub("mild|severe", "", line) for line in shapes[0]} == {
        re.sub("mild|severe", "", line) for line in shapes[1]
    }
