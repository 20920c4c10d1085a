"""`invflow posterior`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from invflow.vi.run import load
from invflow.vi.trust import _arviz
from tests.cli.conftest import Invflow

TARGET = """
from torch.distributions import Normal, constraints
from invflow.vi import Named

def target(y):
    def log_density(mu, sigma):
        each = Normal(mu.unsqueeze(-1), sigma.unsqueeze(-1))
        return each.log_prob(y).sum(-1) - sigma.log()
    return Named(log_density, {"mu": constraints.real, "sigma": constraints.positive})
"""
# Enough of them for a posterior that is soon learned.
DATA = {"y": 20 * [1.0, 2.5, 0.5, 1.5, 3.0, 2.0, 1.0, 2.2]}


COMMAND = (
    *("model.py", "--data", "data.json", "--draws", "500", "--max-steps", "100"),
    *("--accuracy", "high"),  # a normal distribution is not, and a flow is trained
)


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "invflow", "posterior", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(TARGET)
    (tmp_path / "data.json").write_text(json.dumps(DATA))
    return tmp_path


def test_a_run_has_everything(
    folder: Path, invflow: Invflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = _run(folder, *COMMAND)
    assert done.returncode == 0, done.stderr
    assert "k-hat" in done.stdout
    run = folder / "runs" / "model"
    names = {path.name for path in run.iterdir()}
    assert names == {
        "checkpoints",
        "config.json",
        "draws.nc",
        "draws.parquet",
        "model",
        "report.html",
        "results.json",
        "summary.csv",
        "verdict.txt",
    }
    draws = pd.read_parquet(run / "draws.parquet")
    assert list(draws.columns) == ["mu", "sigma"]
    assert len(draws) == 500
    assert (draws["sigma"] > 0).all()
    assert abs(draws["mu"].mean() - sum(DATA["y"]) / 160) < 0.1
    inference = _arviz.arviz().from_netcdf(run / "draws.nc")
    assert inference.posterior["mu"].shape == (1, 500)
    summary = pd.read_csv(run / "summary.csv", index_col="parameter")
    assert list(summary.index) == ["mu", "sigma"]
    page = (run / "report.html").read_text()
    for part in ("Parameters", "Training", "Pairs", "Marginals"):
        assert part in page
    level, *_ = (run / "verdict.txt").read_text().partition(":")
    assert level in page
    # The same command again ends with the same draws; other data are another run.
    monkeypatch.chdir(folder)
    code, _, error = invflow("posterior", *COMMAND)
    assert code == 0, error
    assert pd.read_parquet(run / "draws.parquet").equals(draws)
    (folder / "data.json").write_text(json.dumps({"y": [1.0, 2.0, 3.0]}))
    code, _, error = invflow("posterior", "model.py", "--data", "data.json")
    assert code != 0
    assert "--overwrite" in error
    assert pd.read_parquet(run / "draws.parquet").equals(draws)
    content = json.loads((run / "config.json").read_text())
    content["config"]["facts"]["dim"] = 0
    (run / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="does not say what its parameters are: dim must be"):
        load(run)


BAD = {
    "no-file": (["none.py"], "none.py does not exist"),
    "no-data": (["model.py", "--data", "none.json"], "none.json does not exist"),
    "fails": (["fails.py"], "fails.py fails: ZeroDivisionError"),
    "empty": (["empty.py"], "must define target, log_density and dim, or model"),
    "no-dim": (["no_dim.py"], "must define dim"),
    "wrong-data": (
        ["model.py", "--data", "other.json"],
        "fails: TypeError: target() got an unexpected",
    ),
    "no-object": (["model.py", "--data", "list.json"], "must hold a JSON object"),
    "no-json": (["model.py", "--data", "model.py"], "does not hold JSON"),
    "ragged": (["model.py", "--data", "ragged.json"], "'y' is not an array of numbers"),
    "twice": (["model.py", "--data", "twice.json"], "'y' appears twice"),
    "deep": (["model.py", "--data", "deep.json"], "does not hold JSON"),
    "hidden": (["model.py", "--data", "data.json", "--name", ".a.old"], "run being over"),
    "path": (["model.py", "--data", "data.json", "--name", "a/b"], "must be the name of"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, invflow: Invflow
) -> None:
    files = {
        "fails.py": "1 / 0",
        "empty.py": "",
        "no_dim.py": "log_density = sum",
        "other.json": '{"x": [1.0]}',
        "list.json": "[1, 2]",
        "twice.json": '{"y": [1, 2], "y": [3]}',
        "deep.json": 100_000 * "[",
        "ragged.json": '{"y": [[1, 2], [3]]}',
    }
    for path, text in files.items():
        (folder / path).write_text(text)
    arguments, message = BAD[name]
    monkeypatch.chdir(folder)
    code, _, told = invflow("posterior", *arguments)
    assert code != 0
    assert message in told.replace("\n", " ")
    assert "Traceback" not in told
    assert not (folder / "runs").exists()


FLAT = """
dim = 1
def log_density(z):
    return -0.5 * z.square().sum(-1)
"""
WORSE = """
dim = 2
def log_density(z):
    return z.new_full(z.shape[:1], float("nan")) * z.sum(-1)
"""


@pytest.mark.parametrize("config", ['{"font": "Times"}', '{"format": 1, "model": "vae-run"}', ""])
def test_overwriting_removes_nothing_but_posteriors(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invflow: Invflow
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "X.py").write_text(FLAT)
    other = tmp_path / "runs" / "X"
    other.mkdir(parents=True)
    (other / "config.json").write_text(config)
    (other / "thesis.tex").write_text("years of work")
    code, _, told = invflow("posterior", "X.py", "--overwrite")
    assert code != 0
    assert told == "invflow: runs/X exists and is not a posterior run; choose another --name"
    assert (other / "config.json").read_text() == config
    assert (other / "thesis.tex").read_text() == "years of work"


def test_a_run_is_overwritten_by_one_that_can_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invflow: Invflow
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(FLAT)
    assert invflow("posterior", "model.py", "--draws", 100)[0] == 0
    run = tmp_path / "runs" / "model"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for text, message in (
        (WORSE, "none of 128 starting points"),
        ("1 / 0", "fails: ZeroDivisionError"),
    ):
        (tmp_path / "model.py").write_text(text)
        code, _, told = invflow("posterior", "model.py", "--overwrite")
        assert code != 0
        assert message in told
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    (tmp_path / "model.py").write_text(FLAT + "# another\n")
    code, _, told = invflow("posterior", "model.py", "--draws", 100)
    assert code != 0
    assert "holds a run with different model; choose another --name, or" in told
    assert invflow("posterior", "model.py", "--draws", 100, "--overwrite")[0] == 0
    (run / "notes.txt").write_text("years of work")
    code, _, told = invflow("posterior", "model.py", "--seed", 1, "--overwrite")
    assert code != 0
    assert "not part of the run, notes.txt; move them" in told
