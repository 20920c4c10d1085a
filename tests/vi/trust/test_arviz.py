from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.vi.trust import _arviz
from invflow.vi.trust._arviz import convergence, inference_data, storable


def source() -> np.random.Generator:
    return np.random.default_rng(0)


class Later:
    """The call of ArviZ 1.x that differs from that of earlier versions."""

    __version__ = "1.3.0"

    def from_dict(
        self, groups: dict[str, Any], *, attrs: dict[str, Any], dims: Any, coords: Any
    ) -> SimpleNamespace:
        return SimpleNamespace(**groups, attrs=attrs["/"], dims=dims, coords=coords)


@pytest.mark.parametrize("version", ["installed", "1.x"])
def test_groups_and_attributes(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if version == "1.x":
        monkeypatch.setattr(_arviz, "arviz", Later)
    draws = source().normal(size=(4, 50, 3))
    groups = {"posterior": {"a": draws}, "sample_stats": {"lp": draws[..., 0]}}
    data = inference_data(groups, {"inference_library": "invflow"})
    assert data.posterior["a"].shape == draws.shape
    np.testing.assert_array_equal(data.sample_stats["lp"], draws[..., 0])
    assert data.attrs["inference_library"] == "invflow"


def test_axes_have_their_labels_in_memory_and_as_text_in_a_file(tmp_path: Path) -> None:
    labels = np.empty(2, object)
    labels[:] = [("a", 1), ("b", 2)]
    ages = pd.interval_range(0, 2)
    draws = source().normal(size=(1, 5, 2, 2))
    data = inference_data(
        {"posterior": {"a": draws}, "observed_data": {"y": draws[0, 0, 0]}},
        {},
        {"a": ["pair", "age"], "y": ["age"]},
        {"pair": labels, "age": list(ages)},
    )
    assert data.posterior["a"].coords["pair"].values.tolist() == [("a", 1), ("b", 2)]
    assert data.observed_data["y"].coords["age"].values.tolist() == list(ages)
    storable(data).to_netcdf(str(tmp_path / "draws.nc"), engine="h5netcdf")
    again = _arviz.arviz().from_netcdf(tmp_path / "draws.nc")
    assert again.posterior["a"].coords["pair"].values.tolist() == ["('a', 1)", "('b', 2)"]
    assert again.observed_data["y"].coords["age"].values.tolist() == ["(0, 1]", "(1, 2]"]
    np.testing.assert_array_equal(again.posterior["a"], draws)


def test_the_diagnosis_of_chains_loads_no_plots() -> None:
    script = """
import sys
import numpy as np
from invflow.vi.trust._arviz import convergence
numbers = np.random.default_rng(0).normal(size=1000)
convergence(numbers.reshape(4, 250))
print({"arviz", "matplotlib"} & {*sys.modules})
"""
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_independent_chains_have_converged_and_others_have_not() -> None:
    chains = source().normal(size=(4, 1000))
    rhat, ess = convergence(chains)
    assert rhat == pytest.approx(1, abs=0.01)
    assert 2500 < ess < 5000
    rhat, ess = convergence(chains + np.arange(4)[:, None])
    assert rhat > 1.3
    assert ess < 50
