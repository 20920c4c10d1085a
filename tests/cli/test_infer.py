"""`invflow infer`, as a user runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from invflow.simulation import nle
from invflow.simulation import run as runs
from invflow.vi import Posterior, Settings, fit
from tests.cli.conftest import Invflow
from tests.simulation import known

PRIOR = ("--prior", "a=uniform:0:1", "--prior", "b=uniform:10:12")
SMALL = (
    "--flow",
    "maf",
    "--transforms",
    "2",
    "--hidden-features",
    "16",
    "--steps",
    "60",
    "--ensemble",
    "1",
)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    some = known.boxed(400, 3)
    rows = torch.cat([some.parameters, some.data], -1).numpy()
    frame = pd.DataFrame(rows, columns=["a", "b", "x", "y"])
    frame.to_csv("sims.csv", index=False)
    frame.to_parquet("sims.parquet")
    np.savez("sims.npz", data=rows, columns=np.array(list(frame)))
    pd.DataFrame({"y": [11.5], "x": [0.4]}).to_csv("obs.csv", index=False)
    return frame


def _command(*more: str, source: str = "sims.csv", small: tuple[str, ...] = SMALL) -> list[str]:
    given = ["infer", source, "--parameters", "a,b", "--observed", "obs.csv"]
    return [*given, *PRIOR, *small, *more]


def test_a_run_has_everything(table: pd.DataFrame, invflow: Invflow) -> None:
    code, out, err = invflow(*_command("--draws", "500"))
    assert code == 0, err
    assert "sd / prior sd" in out
    assert "usable: " in out
    place = Path("runs/sims")
    draws = pd.read_parquet(place / "draws.parquet")
    assert list(draws) == ["a", "b"]
    assert len(draws) == 500
    assert draws["a"].between(0, 1).all()
    assert draws["b"].between(10, 12).all()
    summary = pd.read_csv(place / "summary.csv", index_col="parameter")
    assert summary.loc["a", "prior sd"] == pytest.approx(1 / 12**0.5, rel=0.1)
    page = (place / "report.html").read_text()
    for part in ("Parameters", "Pairs", "Marginals", "Coverage", "Ranks", "Training", "Settings"):
        assert f"{part}</h2>" in page
    assert "--prior a=uniform:0:1" in page
    # The same command again returns the same run.
    code, out, err = invflow(*_command("--draws", "500"))
    assert code == 0, err
    assert "already finished" in out
    assert invflow(*_command("--draws", "600"))[0] == 1
    # Draws of the loaded posterior are those of the run.
    code, out, err = invflow("sample", "runs/sims", "--count", "500", "--out", "more.csv")
    assert code == 0, err
    np.testing.assert_allclose(pd.read_csv("more.csv"), draws)
    assert runs.load(place).results.judged is not None


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_other_tables(table: pd.DataFrame, invflow: Invflow, kind: str) -> None:
    assert invflow(*_command())[0] == 0
    code, _, err = invflow(*_command("--name", "other", source=f"sims.{kind}"))
    assert code == 0, err
    one, two = (pd.read_parquet(f"runs/{name}/draws.parquet") for name in ("sims", "other"))
    np.testing.assert_allclose(one, two, rtol=1e-4)


def test_a_learned_likelihood_has_the_evidence(table: pd.DataFrame, invflow: Invflow) -> None:
    small = ("--flow", "gaussian", "--steps", "60", "--ensemble", "1")
    pd.DataFrame({"x": [0.4, 0.5], "y": [11.5, 11.0]}).to_csv("obs.csv", index=False)
    code, out, err = invflow(*_command("--method", "nle", small=small))
    assert code == 0, err
    assert "log evidence" in out
    code, _, err = invflow("sample", "runs/sims", "--count", "4000", "--out", "more.csv")
    assert code == 0, err
    np.testing.assert_allclose(
        pd.read_csv("more.csv"), pd.read_parquet("runs/sims/draws.parquet"), rtol=1e-6
    )
    code, out, err = invflow(*_command("--name", "npe", small=SMALL))
    assert code == 1
    assert "observed must be one observation, got 2" in err
    assert not Path("runs/npe").exists()


def test_runs_are_compared(table: pd.DataFrame, invflow: Invflow) -> None:
    for seed in ("0", "1"):
        code, _, err = invflow(*_command("--name", f"seed-{seed}", "--seed", seed))
        assert code == 0, err
    code, out, err = invflow("compare", "runs/seed-0", "runs/seed-1")
    assert code == 0, err
    assert "coverage of 90%" in out
    assert "Mean over seeds" in out
    page = Path("compare.html").read_text()
    assert "seed-0" in page
    assert "Parameters</h2>" in page


def test_simulations_that_failed_are_dropped_only_when_told(
    table: pd.DataFrame, invflow: Invflow
) -> None:
    table.loc[[3, 8], "x"] = np.nan
    table.to_csv("sims.csv", index=False)
    code, _, err = invflow(*_command())
    assert code == 1
    assert "NaN or infinity in 2 rows, 3, 8" in err
    assert not Path("runs").exists()
    code, out, err = invflow(*_command("--invalid", "drop"))
    assert code == 0, err
    assert "2 simulations with missing or infinite numbers were left out" in out


def test_observed_data_far_away_are_named(table: pd.DataFrame, invflow: Invflow) -> None:
    pd.DataFrame({"x": [90.0], "y": [11.5]}).to_csv("obs.csv", index=False)
    code, out, err = invflow(*_command())
    assert code == 0, err
    assert "far from the simulations" in err
    assert "bad: Do not use this posterior" in out
    assert "x = 90, not in" in out


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        ({"x": 1.0}, (), "summaries must vary, got constant in all simulations: x"),
        ({"a": 2.0}, (), "got some outside in 400 rows, 0, 1, 2"),
        ({"y": "north"}, (), "column 'y' must hold numbers"),
        ({}, ("--prior", "c=normal:0:1"), "--prior names 'c', which is not among --parameters a,b"),
        ({}, ("--drop", "x", "--drop", "y"), "the simulations have only parameters"),
        ({}, ("--observed", "none.csv"), "none.csv"),
        ({}, ("--parameters", "a,b,a"), "--parameters names 'a' twice"),
        (
            {},
            ("--prior", "c=uniform:1:0"),
            "--prior: a prior must be uniform:LOW:HIGH with valid numbers, got 'uniform:1:0'",
        ),
        (
            {"z": np.arange(400.0)},
            (),
            "observed must have the summaries of the simulations, but lacks z",
        ),
    ],
)
def test_bad_input_is_one_clear_line(
    table: pd.DataFrame,
    invflow: Invflow,
    change: dict[str, object],
    more: tuple[str, ...],
    said: str,
) -> None:
    table.assign(**change).to_csv("sims.csv", index=False)
    code, _, err = invflow(*_command(*more))
    assert code != 0
    assert said in " ".join(err.split())
    assert not Path("runs").exists()


def test_few_simulations_and_priors_without_density(table: pd.DataFrame, invflow: Invflow) -> None:
    given = ["infer", "sims.csv", "--parameters", "a,b", "--observed", "obs.csv", *SMALL]
    code, _, err = invflow(*given, "--method", "nle")
    assert code == 1
    assert "--method nle needs a distribution as --prior of every parameter" in err
    code, _, err = invflow(*given, "--prior", "a=tree")
    assert code == 1
    assert "a prior must be one of" in err
    code, _, err = invflow("infer", "sims.csv", "--parameters", "a,z", "--observed", "obs.csv")
    assert code == 1
    assert "do not have the column 'z', a parameter" in err
    for few in (1, 30):
        table[:few].to_csv("sims.csv", index=False)
        code, _, err = invflow(*given)
        assert code == 1
        assert f"sims.csv has {few} simulations; a run takes 60 or more" in err


def test_a_small_table_is_enough(table: pd.DataFrame, invflow: Invflow) -> None:
    table[:60].to_csv("sims.csv", index=False)
    code, out, err = invflow(*_command())
    assert code == 0, err
    assert "judged by 20 simulations" in out


def test_a_likelihood_that_was_hardly_learned_is_not_good(
    table: pd.DataFrame, invflow: Invflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def briefly(target: Any, settings: None, **options: Any) -> Posterior:
        return fit(target, settings=Settings(max_steps=200), **options)

    monkeypatch.setattr(nle, "fit", briefly)
    small = ("--flow", "gaussian", "--steps", "3", "--ensemble", "1")
    rows = table.assign(x=table["a"] + 0.02 * np.arange(400) / 400, y=table["b"])
    rows.to_csv("sims.csv", index=False)
    code, out, err = invflow(*_command("--method", "nle", small=small))
    assert code == 0, err
    assert "good: No test" not in out
    assert "contain the data of 90%" in out
