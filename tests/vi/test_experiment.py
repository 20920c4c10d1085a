"""The run of a posterior that is interrupted: unfinished, and resumed to the same numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from invflow.runs.directory import is_finished
from invflow.vi import Settings
from invflow.vi.config import Config
from invflow.vi.experiment import train

MODEL = """
dim = 2
def log_density(z):
    return -0.5 * z[:, 0].square() - 2 * (z[:, 1] - z[:, 0].square()).square()
"""


def test_an_interrupted_run_is_not_finished_and_resumes_to_the_same_draws(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    short = Settings(batch_size=64, steps_per_round=20, max_steps=60, evaluation_draws=256)
    config = Config(model=str(tmp_path / "model.py"), draws=100, settings=short)

    def interrupt(done: int, line: str) -> None:
        if line.startswith("flow of mode") and done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", report=interrupt)
    assert (tmp_path / "run" / "config.json").is_file()
    assert not is_finished(tmp_path / "run")
    resumed = train(config, tmp_path / "run")
    whole = train(config, tmp_path / "whole")
    assert resumed.results.record.stopped == whole.results.record.stopped
    assert resumed.draws.equals(whole.draws)


def test_a_missing_package_is_noticed_before_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.py").write_text("raise ZeroDivisionError")  # it is not even loaded
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r'pip install "invflow\[vi\]"'):
        train(Config(model=str(tmp_path / "model.py")), tmp_path / "run")
    assert not (tmp_path / "run").exists()
