"""Stan models: what has BridgeStan's methods, and BridgeStan itself where it can build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invflow.vi import from_stan
from invflow.vi.stan import StanTarget
from tests.helpers import assert_close, randn
from tests.vi.test_pyro import SIGMA, Y, flat

bridgestan = pytest.importorskip("bridgestan", reason="needs BridgeStan")

PROGRAM = """
data { int J; vector[J] y; vector[J] sigma; }
parameters { real mu; real<lower=0> tau; vector[J] t; }
transformed parameters { vector[J] theta = mu + tau * t; }
model {
  mu ~ normal(0, 5);
  tau ~ cauchy(0, 5);
  t ~ std_normal();
  y ~ normal(theta, sigma);
}
"""
DATA = {"J": 8, "y": Y, "sigma": SIGMA}


class Schools:
    """Eight schools with the methods of `bridgestan.StanModel`."""

    def param_unc_num(self) -> int:
        return 10

    def param_names(self, *, include_tp: bool = False, include_gq: bool = False) -> list[str]:
        assert not include_gq
        columns = [f"t.{j}" for j in range(1, 9)]
        matrix = [f"m.{i}.{j}" for j in (1, 2) for i in (1, 2, 3)] if include_tp else []
        return ["mu", "tau", *columns, *matrix]

    def param_constrain(self, row: Any, *, include_tp: bool = False) -> Any:
        assert include_tp
        return np.concatenate([row[:1], np.exp(row[1:2]), row[2:], np.arange(6.0)])

    def log_density_gradient(self, row: Any) -> tuple[float, Any]:
        if row[0] > 100:
            raise RuntimeError("Exception: normal_lpdf: rejected")
        z = torch.from_numpy(row.copy())[None].requires_grad_()
        with torch.enable_grad():
            value = flat().log_density(z)
            (slope,) = torch.autograd.grad(value.sum(), z)
        return float(value.detach()), slope[0].numpy()


def test_density_and_gradient() -> None:
    target, z = StanTarget(Schools()), randn(5, 10).requires_grad_()
    values = [each.log_density(z) for each in (flat(), target)]
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
    assert_close((values[1], slopes[1]), (values[0], slopes[0]), 1e-12)


def test_a_point_that_stan_rejects_has_no_density() -> None:
    z = torch.zeros(2, 10, dtype=torch.float64)
    z[1, 0] = 200.0
    assert StanTarget(Schools()).log_density(z).isfinite().tolist() == [True, False]


def test_parameters_by_name_and_shape() -> None:
    """Stan's matrices come column by column."""
    z = randn(2, 3, 10)
    values = StanTarget(Schools()).constrain(z)
    assert_close(values["tau"], z[..., 1].exp(), 1e-12)
    assert_close(values["t"], z[..., 2:], 1e-12)
    assert values["m"].shape == (2, 3, 3, 2)
    expected = torch.arange(6.0).double().reshape(2, 3).T
    assert torch.equal(values["m"][1, 2], expected)


def test_what_is_given_to_bridgestan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, Any]] = []

    def build(path: str, data: str | None = None) -> Schools:
        given.append((Path(path).read_text(), data))
        return Schools()

    monkeypatch.setattr(bridgestan, "StanModel", build)
    (tmp_path / "model.stan").write_text(PROGRAM)
    (tmp_path / "data.json").write_text('{"J": 8}')
    from_stan(PROGRAM, DATA)
    from_stan(tmp_path / "model.stan", tmp_path / "data.json")
    from_stan(str(tmp_path / "model.stan"))
    assert [text for text, _ in given] == [PROGRAM] * 3
    assert json.loads(given[0][1])["y"] == Y.tolist()
    assert [data for _, data in given[1:]] == ['{"J": 8}', None]


def test_missing_files_and_failing_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.stan does not exist"):
        from_stan(tmp_path / "none.stan")
    with pytest.raises(FileNotFoundError, match=r"none\.json does not exist"):
        from_stan(PROGRAM, tmp_path / "none.json")

    def fail(path: str, data: str | None = None) -> None:
        raise RuntimeError("Syntax error")

    monkeypatch.setattr(bridgestan, "StanModel", fail)
    with pytest.raises(ValueError, match=r"model.stan cannot be built: Syntax error"):
        from_stan("nonsense")


@pytest.mark.slow
def test_a_real_model() -> None:
    try:
        target = from_stan(PROGRAM, DATA)
    except (ValueError, OSError) as error:
        pytest.skip(f"BridgeStan cannot build here: {error}")
    z = randn(5, 10).requires_grad_()
    difference = target.log_density(z) - flat().log_density(z)
    assert_close(difference, difference[:1].expand(5), 1e-8)
