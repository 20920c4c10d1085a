"""Stan models: what has BridgeStan's methods, and BridgeStan itself where it can build."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invflow.vi import fit, from_stan
from invflow.vi.targets.stan import StanTarget
from tests.helpers import assert_close, randn
from tests.vi.targets.test_pyro import SIGMA, Y, flat

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
        if row[0] > 100:
            raise RuntimeError("Exception: rejected")
        return np.concatenate([row[:1], np.exp(row[1:2]), row[2:], np.arange(6.0)])

    def log_density_gradient(
        self, row: Any, *, propto: bool = True, jacobian: bool = True
    ) -> tuple[float, Any]:
        if row[0] > 100:
            raise RuntimeError("Exception: normal_lpdf: rejected")
        z = torch.from_numpy(row.copy())[None].requires_grad_()
        with torch.enable_grad():
            value = flat().log_density(z) - math.log(2)  # Stan does not normalise tau's prior
            (slope,) = torch.autograd.grad(value.sum(), z)
        assert jacobian
        return float(value.detach()) - 3.0 * propto, slope[0].numpy()


def test_density_and_gradient() -> None:
    target, z = StanTarget(Schools()), randn(5, 10).requires_grad_()
    values = [each.log_density(z) for each in (flat(), target)]
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
    assert_close((values[1], slopes[1]), (values[0] - math.log(2), slopes[0]), 1e-12)


def test_a_point_that_stan_rejects_has_no_density() -> None:
    z = torch.zeros(2, 10, dtype=torch.float64)
    z[1, 0] = 200.0
    target = StanTarget(Schools())
    assert target.log_density(z).isfinite().tolist() == [True, False]
    assert target.constrain(z)["tau"].isfinite().tolist() == [True, False]


def test_parameters_by_name_and_shape() -> None:
    """Stan's matrices come column by column."""
    z = randn(2, 3, 10)
    values = StanTarget(Schools()).constrain(z)
    assert_close(values["tau"], z[..., 1].exp(), 1e-12)
    assert_close(values["t"], z[..., 2:], 1e-12)
    assert values["m"].shape == (2, 3, 3, 2)
    expected = torch.arange(6.0).double().reshape(2, 3).T
    assert torch.equal(values["m"][1, 2], expected)


class Odd(Schools):
    """A complex array and an array of tuples, and nothing else."""

    def param_names(self, *, include_tp: bool = False, include_gq: bool = False) -> list[str]:
        return ["c.1.real", "c.1.imag", "c.2.real", "c.2.imag", "p.1:1", "p.1:2.1", "p.1:2.2"]

    def param_constrain(self, row: Any, *, include_tp: bool = False) -> Any:
        return row[:7]


def test_complex_numbers_and_tuples() -> None:
    values = StanTarget(Odd()).constrain(torch.arange(10.0)[None].double())
    assert {name: value[0].tolist() for name, value in values.items()} == {
        "c.1.real": 0,
        "c.1.imag": 1,
        "c.2.real": 2,
        "c.2.imag": 3,
        "p.1:1": 4,
        "p.1:2": [5, 6],
    }


def test_the_arguments_are_those_of_bridgestan() -> None:
    """What stands in for a model here takes what a model of BridgeStan takes."""
    for name in ("log_density_gradient", "param_names", "param_constrain"):
        real, ours = (
            inspect.signature(getattr(model, name)).parameters
            for model in (bridgestan.StanModel, Schools)
        )
        keywords = [key for key, each in ours.items() if each.kind is each.KEYWORD_ONLY]
        assert set(keywords) <= set(real)
        assert [real[key].default for key in keywords] == [ours[key].default for key in keywords]


class Angle(Schools):
    """An angle without bounds, `real t; t ~ von_mises(0, 2);`, as Stan's manual warns of."""

    def param_unc_num(self) -> int:
        return 1

    def param_names(self, *, include_tp: bool = False, include_gq: bool = False) -> list[str]:
        return ["t"]

    def param_constrain(self, row: Any, *, include_tp: bool = False) -> Any:
        return row

    def log_density_gradient(
        self, row: Any, *, propto: bool = True, jacobian: bool = True
    ) -> tuple[float, Any]:
        return 2 * math.cos(row[0]), -2 * np.sin(row)


def test_an_angle_without_bounds_is_named() -> None:
    with pytest.raises(ValueError, match=r"does not along t: .* bound them to one turn"):
        fit(StanTarget(Angle()))


def test_a_model_without_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Schools, "param_unc_num", lambda self: 0)
    with pytest.raises(ValueError, match="model must have a parameter, got none"):
        StanTarget(Schools())


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
    from_stan(PROGRAM, {"pairs": [(1, torch.ones(2))], "n": np.int64(3)})
    with pytest.raises(TypeError, match="data must be numbers, lists, arrays or tensors, got a se"):
        from_stan(PROGRAM, {"y": {1, 2}})
    assert [text for text, _ in given] == [PROGRAM] * 4
    assert json.loads(given[0][1])["y"] == Y.tolist()
    assert [data for _, data in given[1:3]] == ['{"J": 8}', None]
    assert given[3][1] == '{"pairs": [[1, [1.0, 1.0]]], "n": 3}'


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
    assert_close(target.log_density(z), flat().log_density(z) - math.log(2), 1e-8)
