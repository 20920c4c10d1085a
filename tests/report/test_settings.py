"""What repeats a run."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from invflow.report.settings import settings
from invflow.vae.config import Config
from tests.report import runs


def test_the_section(tmp_path: Path) -> None:
    run = runs.run(tmp_path / "own")
    runs.write(run)
    found = settings(run.directory, run.config, "vae", "digits", {"images": "6"})
    rows = dict(found.table[1:])
    assert rows["images"] == "6"
    assert f"torch {version('torch')}" in rows["versions"]
    assert rows["versions"].startswith("invflow ")
    assert (rows["seed"], rows["precision"]) == ("0", "32-true")
    assert found.code.startswith(f"invflow vae --name own --runs {tmp_path} ")
    assert "--latents 3" in found.code
    assert Config(**json.loads(found.folded)) == run.config


def test_versions_are_left_out_where_they_are_not_known(tmp_path: Path) -> None:
    found = settings(tmp_path, Config(), "vae", "digits", {})
    assert "versions" not in dict(found.table)
