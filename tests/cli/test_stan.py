"""`invflow posterior` with a Stan program, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Invflow

PROGRAM = """data { int N; vector[N] y; }
parameters { real mu; real<lower=0> sigma; }
model {
  sigma ~ exponential(1);
  y ~ normal(mu, sigma);
}
generated quantities { real rep = normal_rng(mu, sigma); }
"""
DATA = {"N": 160, "y": 20 * [1.0, 2.5, 0.5, 1.5, 3.0, 2.0, 1.0, 2.2]}
COMMAND = ("posterior", "model.stan", "--data", "data.json", "--draws", 500)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INVFLOW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model.stan").write_text(PROGRAM)
    (tmp_path / "data.json").write_text(json.dumps(DATA))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("model.stan", None, "model.stan does not exist"),
        ("data.json", None, "data.json does not exist"),
        ("data.json", "N <- 3", "data.json does not hold JSON: Expecting value: line 1"),
        (
            "model.stan",
            PROGRAM.replace("(1);", "(1)"),
            "model.stan cannot be compiled: Syntax error in 'model.stan', line 5, column 2 to "
            'column 3, parsing error: Ill-formed "~"-statement. Expect',
        ),
        (
            "model.stan",
            PROGRAM.replace("(1);", "(m);"),
            "Semantic error in 'model.stan', line 4, column 22 to column 23: Identifier ",
        ),
    ],
)
def test_bad_input_is_one_line(file: str, text: str | None, message: str, invflow: Invflow) -> None:
    pytest.importorskip("httpstan", reason="needs httpstan")
    if text is None:
        Path(file).unlink()
    else:
        Path(file).write_text(text)
    code, _, told = invflow(*COMMAND)
    assert code != 0
    assert told.startswith("invflow: ")
    assert message in told
    assert "\n" not in told.strip()
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_run_of_a_stan_program(invflow: Invflow, tmp_path: Path) -> None:
    pytest.importorskip("httpstan", reason="needs httpstan")
    code, told, wrong = invflow(*COMMAND)
    assert code == 0, wrong
    assert "k-hat" in told
    run = Path("runs", "model")
    draws = pd.read_parquet(run / "draws.parquet")
    assert list(draws.columns) == ["mu", "sigma", "rep"]
    assert abs(draws["mu"].mean() - sum(DATA["y"]) / 160) < 0.1
    assert draws["rep"].std() == pytest.approx(draws["sigma"].mean(), rel=0.2)
    assert "rep" in (run / "report.html").read_text()
    # The same command ends with the same draws, and without compiling again.
    (program,) = (tmp_path / "cache" / "stan").iterdir()
    before = program.stat().st_mtime_ns
    assert invflow(*COMMAND)[0] == 0
    assert pd.read_parquet(run / "draws.parquet").equals(draws)
    assert program.stat().st_mtime_ns == before
    code, _, wrong = invflow("sample", run, "--model", "model.stan", "--count", 50)
    assert code == 0, wrong
    assert list(pd.read_csv(run / "samples.csv").columns) == ["mu", "sigma", "rep"]
    Path("data.json").write_text(json.dumps({"N": 160}))
    code, _, wrong = invflow(*COMMAND, "--overwrite")
    assert code != 0
    assert "model.stan does not accept the data, which lack y: " in wrong
    assert pd.read_parquet(run / "draws.parquet").equals(draws)
