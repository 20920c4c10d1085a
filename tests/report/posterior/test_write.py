"""The page of a posterior, and of several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.report import posterior as report
from invflow.report.posterior.compare import ahead
from invflow.runs.directory import Input
from invflow.vi.config import Config
from invflow.vi.record import Record
from invflow.vi.run import Results, Run
from invflow.vi.trust.verdict import Verdict
from tests.report.pages import headings

VERDICT = Verdict("good", -1.2, 0.1, -1.0, 0.3, 0.2, 900.0, 1000, 0.0, 0.0, 0.0, ["Fine."])
RECORD = Record(
    evaluations=12_345, seconds=7.0, bounds=[(0, 20, -3.0), (0, 40, -2.0), (1, 20, -4.0)]
)


def fitted(
    directory: Path, verdict: Verdict = VERDICT, sha256: tuple[str, ...] = ("m",), **settings: Any
) -> Run:
    """Return a run that was never fitted."""
    directory.mkdir(parents=True)
    config = Config.model_validate({"model": "a/model.py"} | settings)
    inputs = {"model": Input(Path(config.model), sha256[0])}
    if config.data is not None:
        inputs["data"] = Input(Path(config.data), sha256[1])
    draws = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["z[0]", "z$1$"])
    summary = pd.DataFrame({"mean": [0.5, 1.0], "sd": [1.0, 2.0]}, index=["z[0]", "z$1$"])
    results = Results(verdict=verdict, record=RECORD)
    return Run(directory, config, inputs, results, summary, draws, 2, frozenset())


def test_the_page(tmp_path: Path) -> None:
    run = fitted(tmp_path / "run")
    report.write(run)
    text = (run.directory / "report.html").read_text()
    assert headings(text) == [
        "Parameters",
        "Pairs",
        "Marginals",
        "Training",
        "Settings",
    ]
    assert "<h1>invflow: posterior of model</h1>" in text
    assert "2 unconstrained dimensions, seed 0, 12,345 evaluations of the log density, 7 s" in text
    assert text.count("<svg") == 1 + 2 + 1
    opening = text.partition("<nav")[0]
    assert '<section class="verdict good"' in opening
    assert "The draws match the posterior within their Monte Carlo errors." in opening
    assert "<li>Fine.</li>" in opening
    assert "k-hat 0.20, ESS 900 of 1000" in opening
    brief = report.brief(run)
    assert (brief.title, brief.head) == ("Parameters", ("parameter", "mean", "sd"))
    assert brief.rows == [("z[0]", "0.5", "1"), ("z$1$", "1", "2")]


def test_several(tmp_path: Path) -> None:
    other = replace(VERDICT, level="usable", log_evidence=-3.0, log_evidence_error=0.4)
    runs = [
        fitted(tmp_path / "a"),
        fitted(tmp_path / "b", other, seed=1),
        fitted(tmp_path / "c", other, model="other.py", sha256=("o",)),
    ]
    found = report.compare(runs)
    results, seeds = found.tables.values()
    # The errors of the difference add in quadrature: 0.5 from 0.3 and 0.4.
    assert results[2] == (
        "b",
        "usable",
        "-3.000 ± 0.400",
        "-2.000 ± 0.500",
        "0.20",
        "900",
        "7 s",
    )
    assert seeds[1:] == [("a, b", "2", "-2.000 ± 1.000", "0.20 ± 0.00", "900 ± 0")]
    found.write(tmp_path / "compare.html")
    text = (tmp_path / "compare.html").read_text()
    assert "The models (model.py, other.py) have no data file" in text
    assert text.count("<svg") == 1


def test_which_model_has_the_highest_evidence(tmp_path: Path) -> None:
    """The surest run of each model counts."""
    higher = replace(VERDICT, log_evidence=2.0, log_evidence_error=0.4)
    runs = {
        "a": fitted(tmp_path / "a"),
        "vague": fitted(tmp_path / "vague", replace(VERDICT, log_evidence_error=9.0), seed=1),
        "b": fitted(tmp_path / "b", higher, model="other.py", sha256=("o",)),
    }
    found = ahead(runs)
    assert found is not None
    assert found.level == "clear"
    assert found.headline == "b is ahead of a by 3.000 ± 0.500 in log evidence (nats)."
    assert "only if both densities are normalised" in found.points[-1]
    assert ahead({"a": runs["a"]}) is None
    bad = replace(runs["b"], results=Results(verdict=replace(higher, level="bad"), record=RECORD))
    found = ahead(runs | {"b": bad})
    assert found is not None
    assert (found.level, found.headline) == (
        "unclear",
        "Nothing can be compared: the verdict on b is bad.",
    )


@pytest.mark.parametrize(
    ("settings", "agree"),
    [
        ({}, False),
        ({"log_evidence": -2.0}, True),
        ({"log_evidence_error": 1.0}, True),
    ],
)
def test_runs_of_one_model_should_agree(
    tmp_path: Path, settings: dict[str, float], agree: bool
) -> None:
    other = replace(VERDICT, **({"log_evidence": -3.0, "ess": 950.0} | settings))
    found = ahead({"a": fitted(tmp_path / "a"), "b": fitted(tmp_path / "b", other, seed=1)})
    assert found is not None
    if agree:
        assert found.headline.startswith("The runs agree: no two log evidences are 3 standard")
        assert found.points == ["b has the most effective draws, 950 of 1,000."]
    else:
        assert found.headline == (
            "Runs of the same model disagree: the log evidence of a is above that of b by "
            "2.000 ± 0.424 nats."
        )
        assert "has missed a part of the posterior" in found.points[0]


def test_models_of_other_data_are_not_compared(tmp_path: Path) -> None:
    first = fitted(tmp_path / "a", data="x.json", sha256=("m", "x"))
    same = fitted(tmp_path / "b", data="copy.json", model="other.py", sha256=("o", "x"))
    assert "no data file" not in report.compare([first, same]).sections[0].text
    other = fitted(tmp_path / "c", data="y.json", sha256=("m", "y"))
    for run in (other, fitted(tmp_path / "d")):
        with pytest.raises(ValueError, match="different data and cannot be compared"):
            report.compare([first, run])


@pytest.mark.parametrize(("effective", "shown"), [(299.0, False), (300.0, True)])
def test_figures_need_enough_effective_draws(tmp_path: Path, effective: float, shown: bool) -> None:
    run = fitted(tmp_path / "run", replace(VERDICT, level="bad", ess=effective))
    report.write(run)
    text = (run.directory / "report.html").read_text()
    assert ("Pairs" in headings(text)) is shown
    assert ("Marginals" in headings(text)) is shown
    assert ("Only 299 draws are effective, fewer than the 300" in text) is not shown
    assert "Do not use these draws." in text
