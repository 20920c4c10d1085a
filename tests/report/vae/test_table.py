"""The table of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from invflow.report.vae import brief
from invflow.report.vae.table import results
from tests.report import runs


def test_table(tmp_path: Path) -> None:
    head, first, second = results(runs.run(tmp_path))
    assert dict(zip(head, first, strict=True)) == {
        "posterior": "diagonal",
        "test bound": "-90.00 ± 1.00",
        "log-likelihood": "-88.00 ± 0.90",
        "gain": "",
        "KL": "20.00",
        "distortion": "70.00",
        "active": "15",
        "time": "65 s",
    }
    assert second[3] == "+0.50 ± 0.10"


def test_what_a_terminal_shows(tmp_path: Path) -> None:
    title, head, rows, _ = brief(runs.run(tmp_path, levels=256))
    assert title == "Test images, nats per image"
    assert head == ("posterior", "test bound", "log-likelihood", "gain", "bits/dim", "KL", "time")
    assert [row[0] for row in rows] == ["diagonal", "iaf"]


def test_columns_asked_for(tmp_path: Path) -> None:
    head, first, _ = results(runs.run(tmp_path), ["KL", "test bound"])
    assert head == ("posterior", "KL", "test bound")
    assert first == ("diagonal", "20.00", "-90.00 ± 1.00")


@pytest.mark.parametrize(
    ("likelihood", "levels", "bits"),
    [
        ("logistic", 256, True),
        ("categorical", 256, True),
        ("logistic", 17, False),
        ("bernoulli", 256, False),
        ("gaussian", 256, False),
    ],
)
def test_bits_are_of_256_levels(tmp_path: Path, likelihood: str, levels: int, bits: bool) -> None:
    head, first, _ = results(runs.run(tmp_path, likelihood=likelihood, levels=levels))
    row = dict(zip(head, first, strict=True))
    # 88 / (20 ln 2)
    assert row.get("bits/dim") == ("6.348 ± 0.065" if bits else None)
    assert row.get("bits/dim, bound") == ("6.492 ± 0.072" if bits else None)
