"""The examples run, if only for a few steps."""

from __future__ import annotations

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invflow.density import FlowDensity

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ["conditional", "energies", "four_points", "moons", "outbreak", "patches"]


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("name", NAMES)
def test_example(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture, script = tmp_path / "picture.png", str(EXAMPLES / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [script, "--steps", "3", "--out", str(picture)])
    runpy.run_path(script, run_name="__main__")
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(rows) >= 4
    assert "nan" not in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray.data"), ("dask", "dask.dataframe")])
def test_many_files(engine: str, package: str, tmp_path: Path) -> None:
    """Two local workers score three files as one process does."""
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"needs {package}")
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"key": np.arange(120), "a": random.normal(size=120)})
    (tmp_path / "files").mkdir()
    for i in range(3):
        rows[40 * i : 40 * (i + 1)].to_parquet(tmp_path / "files" / f"{i}.parquet", index=False)
    density = FlowDensity("gaussian", steps=3, random_state=0).fit(rows[["a"]])
    density.save(tmp_path / "run" / "model")
    options = ["--out", tmp_path / "out", "--engine", engine, "--workers", "2"]
    command = [sys.executable, EXAMPLES / "many_files.py", tmp_path / "run", tmp_path / "files"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    found = pd.concat([pd.read_parquet(path) for path in (tmp_path / "out").glob("*.parquet")])
    found = found.sort_values("key").reset_index(drop=True)
    # Ray gives its workers columns of Arrow.
    pd.testing.assert_frame_equal(found[["key", "a"]], rows, check_dtype=False)
    np.testing.assert_allclose(found["log_density"], density.score_samples(rows[["a"]]), rtol=1e-6)
    np.testing.assert_allclose(found["p_value"], density.anomaly_scores(rows[["a"]]))


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*NAMES, "many_files"}
