from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from invflow.simulation import NPE, Settings
from invflow.simulation.config import Config
from invflow.simulation.data import load as load_data
from invflow.simulation.data import prior
from invflow.simulation.experiment import train
from invflow.simulation.run import load, name
from tests.simulation import known


@pytest.fixture
def config(tmp_path: Path) -> Config:
    some = known.boxed(800, 3)
    rows = torch.cat([some.parameters, some.data], -1).numpy()
    pd.DataFrame(rows, columns=["a", "b", "x", "y"]).to_csv(tmp_path / "sims.csv", index=False)
    # A whole row: the parameters in it are not looked at.
    row = {"a": [9.0], "x": [0.4], "y": [11.5]}
    pd.DataFrame(row).to_csv(tmp_path / "obs.csv", index=False)
    return Config(
        simulations=str(tmp_path / "sims.csv"),
        observed=str(tmp_path / "obs.csv"),
        parameters=("a", "b"),
        prior={"a": "uniform:0:1", "b": "uniform:10:12"},
        test_fraction=0.25,
        draws=200,
        settings=Settings("maf", 1, (8,), ensemble=2, steps=100),
    )


def test_a_run_that_was_stopped_resumes_to_the_same_numbers(config: Config, tmp_path: Path) -> None:
    def stop(step: int, line: str) -> None:
        if step == 60:
            raise KeyboardInterrupt

    whole = train(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "runs", report=stop)
    with pytest.raises(ValueError, match="holds an unfinished run"):
        load(tmp_path / "runs")
    steps: list[int] = []
    again = train(config, tmp_path / "runs", report=lambda step, line: steps.append(step))
    assert 0 < steps[0] < 60
    pd.testing.assert_frame_equal(again.draws, whole.draws)
    assert again.results.judged == whole.results.judged
    assert again.results.near is not None
    assert again.results.near.simulations == 50


def test_the_estimator_of_a_run_can_be_used(config: Config, tmp_path: Path) -> None:
    found = train(config, tmp_path / "run")
    estimator = NPE.load(found.directory / "model", prior(config))
    draws = estimator.posterior({"x": 0.4, "y": 11.5}).sample(200)
    np.testing.assert_allclose(draws, found.draws)
    torch.testing.assert_close(found.posterior().sample(200), draws)
    assert name(config) == "sims"
    assert (found.results.learned, found.results.dropped) == (600, 0)


def test_simulations_of_the_same_parameters_stay_together(config: Config) -> None:
    """Otherwise posteriors would be judged by parameters that were learned from."""
    table = pd.read_csv(config.simulations)
    table[["a", "b"]] = table.loc[table.index // 10 * 10, ["a", "b"]].to_numpy()
    table.to_csv(config.simulations, index=False)
    found = load_data(config, prior(config))
    train, test = (set(map(tuple, each.parameters.tolist())) for each in (found.train, found.test))
    assert (len(train), len(test)) == (60, 20)
    assert not train & test


@pytest.mark.parametrize("different", [2, 25])
def test_simulations_of_few_different_parameters(config: Config, different: int) -> None:
    table = pd.read_csv(config.simulations)
    kind = np.minimum(np.arange(len(table)), different - 1)  # nearly all have those of the last
    table[["a", "b"]] = table.loc[kind, ["a", "b"]].to_numpy()
    table.to_csv(config.simulations, index=False)
    message = (
        r"sims.csv has too few different parameters: .* leaves \d+ of 800 simulations to learn"
    )
    for seed in range(5):
        with pytest.raises(ValueError, match=message):
            load_data(config.model_copy(update={"seed": seed}), prior(config))


def test_a_changed_file_is_noticed(config: Config, tmp_path: Path) -> None:
    found = train(config, tmp_path / "run")
    (found.directory / "summary.csv").write_text("parameter,mean\na,1\n")
    with pytest.raises(ValueError, match="has changed since the run finished"):
        load(found.directory)
