"""BridgeStan: what has its methods, and BridgeStan itself where it can compile."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invflow.vi import fit, from_stan
from invflow.vi.targets.stan import bridgestan as engine
from invflow.vi.targets.stan.target import StanTarget
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
        columns = [f"t.{j}" for j in range(1, 9)]
        matrix = [f"m.{i}.{j}" for j in (1, 2) for i in (1, 2, 3)] if include_tp else []
        return ["mu", "tau", *columns, *matrix, *(["rep"] if include_gq else [])]

    def new_rng(self, seed: int) -> np.random.Generator:
        return np.random.default_rng(seed)

    def param_constrain(
        self, row: Any, *, include_tp: bool = False, include_gq: bool = False, rng: Any = None
    ) -> Any:
        assert include_tp
        if row[0] > 100 or (include_gq and row[0] > 50):
            raise RuntimeError("Exception: rejected")
        found = [row[:1], np.exp(row[1:2]), row[2:], np.arange(6.0)]
        return np.concatenate([*found, rng.normal(size=1)] if include_gq else found)

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


def target_of(model: Any) -> StanTarget:
    return StanTarget(engine.Model(model))


def test_density_and_gradient() -> None:
    target, z = target_of(Schools()), randn(5, 10).requires_grad_()
    values = [each.log_density(z) for each in (flat(), target)]
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
    assert_close((values[1], slopes[1]), (values[0] - math.log(2), slopes[0]), 1e-12)


def test_a_point_that_stan_rejects_has_no_density() -> None:
    z = torch.zeros(2, 10, dtype=torch.float64)
    z[1, 0] = 200.0
    target = target_of(Schools())
    assert target.log_density(z).isfinite().tolist() == [True, False]
    assert target.constrain(z)["tau"].isfinite().tolist() == [True, False]


def test_parameters_by_name_and_shape() -> None:
    """Stan's matrices come column by column."""
    z = randn(2, 3, 10)
    values = target_of(Schools()).constrain(z)
    assert_close(values["tau"], z[..., 1].exp(), 1e-12)
    assert_close(values["t"], z[..., 2:], 1e-12)
    assert values["m"].shape == (2, 3, 3, 2)
    expected = torch.arange(6.0).double().reshape(2, 3).T
    assert torch.equal(values["m"][1, 2], expected)


class Odd(Schools):
    """A complex array and an array of tuples, and nothing else."""

    def param_names(self, *, include_tp: bool = False, include_gq: bool = False) -> list[str]:
        return ["c.1.real", "c.1.imag", "c.2.real", "c.2.imag", "p.1:1", "p.1:2.1", "p.1:2.2"]

    def param_constrain(
        self, row: Any, *, include_tp: bool = False, include_gq: bool = False, rng: Any = None
    ) -> Any:
        return row[:7]


def test_complex_numbers_and_tuples() -> None:
    values = target_of(Odd()).constrain(torch.arange(10.0)[None].double())
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
    for name in ("log_density_gradient", "param_names", "param_constrain", "new_rng"):
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

    def param_constrain(
        self, row: Any, *, include_tp: bool = False, include_gq: bool = False, rng: Any = None
    ) -> Any:
        return row

    def log_density_gradient(
        self, row: Any, *, propto: bool = True, jacobian: bool = True
    ) -> tuple[float, Any]:
        return 2 * math.cos(row[0]), -2 * np.sin(row)


def test_an_angle_without_bounds_is_named() -> None:
    with pytest.raises(ValueError, match=r"does not along t: .* bound them to one turn"):
        fit(target_of(Angle()))


def test_a_model_without_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Schools, "param_unc_num", lambda self: 0)
    with pytest.raises(ValueError, match="program must have a parameter, got none"):
        target_of(Schools())


def test_generated_quantities_are_those_of_the_draw() -> None:
    z = randn(4, 10)
    z[3] = z[0]
    z[2, 0] = 60.0  # nothing can be generated there
    values = target_of(Schools()).constrain(z)
    again = target_of(Schools()).constrain(z[1:])
    assert values["rep"].isfinite().tolist() == [True, True, False, True]
    assert values["tau"].isfinite().all()
    assert values["rep"][0] == values["rep"][3] != values["rep"][1]
    assert values["rep"][1] == again["rep"][0]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that looks like BridgeStan's C++ sources, and a place for compiled programs."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "Makefile").touch()
    monkeypatch.setenv("BRIDGESTAN", str(tmp_path / "sources"))
    monkeypatch.setenv("INVFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_programs_are_compiled_once(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Path] = []

    def compile_model(path: Path) -> Path:
        compiled.append(path)
        path.with_suffix(".so").write_text(path.read_text())
        return path.with_suffix(".so")

    def load(path: str, *, data: str, seed: int, warn: bool) -> Schools:
        assert Path(path).read_text() in (PROGRAM, PROGRAM + " ")
        return Schools()

    monkeypatch.setattr(bridgestan, "compile_model", compile_model)
    monkeypatch.setattr(bridgestan, "StanModel", load)
    for text in (PROGRAM, PROGRAM, PROGRAM + " "):
        from_stan(text, DATA)  # BridgeStan is ready, so it is the engine
    assert len(compiled) == 2
    assert not any(path.parent.exists() for path in compiled)
    assert len(list((sources / "cache" / "stan").iterdir())) == 2


def test_what_cannot_be_compiled_is_not_kept(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> Path:
        raise RuntimeError("Command make failed with code 2.\nstdout:\nx\nstderr:\nSyntax error")

    monkeypatch.setattr(bridgestan, "compile_model", fail)
    with pytest.raises(ValueError, match=r"^model\.stan cannot be compiled: Syntax error$"):
        from_stan(PROGRAM, DATA, engine="bridgestan")
    assert not list((sources / "cache" / "stan").iterdir())


def test_data_that_the_program_does_not_accept(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: str, **given: Any) -> Schools:
        raise RuntimeError("Exception: variable does not exist; variable name=J")

    monkeypatch.setattr(bridgestan, "compile_model", lambda path: path)
    monkeypatch.setattr(bridgestan, "StanModel", load)
    with pytest.raises(ValueError, match=r"accept the data, which lack J: variable does not ex"):
        from_stan(PROGRAM, engine="bridgestan")


def test_a_download_that_fails_names_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise ValueError("Failed to download BridgeStan 2.9.0 from github.com.")

    monkeypatch.setattr(bridgestan.compile, "get_bridgestan_path", fail)
    message = r"Failed to download .* Set BRIDGESTAN .* pip install \"invflow\[httpstan\]\""
    with pytest.raises(ValueError, match=message):
        from_stan(PROGRAM, DATA, engine="bridgestan")


@pytest.mark.slow
def test_a_real_model() -> None:
    if not engine.ready():
        pytest.skip("BridgeStan's C++ sources are not here")
    target = from_stan(PROGRAM, DATA, engine="bridgestan")
    z = randn(5, 10).requires_grad_()
    assert_close(target.log_density(z), flat().log_density(z) - math.log(2), 1e-8)
