"""Programs compiled with httpstan's copy of Stan, against the same densities in torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from invflow.vi import Posterior, fit, from_stan
from invflow.vi.targets.stan.target import StanTarget
from tests.helpers import assert_close, randn

pytest.importorskip("httpstan", reason="needs httpstan")

PROGRAM = """
data {
  int<lower=1> N;
  matrix[N, 2] X;
  vector[N] y;
}
parameters {
  vector[2] b;
}
transformed parameters {
  matrix[2, 3] powers;
  for (j in 1:3) powers[, j] = b ^ j;
}
model {
  if (b[1] > 100) reject("too large");
  b ~ normal(0, 2);
  y ~ normal(X * b, 0.5);
}
generated quantities {
  vector[N] rep = to_vector(normal_rng(X * b, 0.5));
  vector[N] log_lik;
  for (n in 1:N) log_lik[n] = normal_lpdf(y[n] | X[n] * b, 0.5);
  real last = X[b[2] > 100 ? N + 1 : N, 1];
}
"""
X = randn(5, 2, seed=1)
Y = randn(5, seed=2)
DATA = {"N": 5, "X": X, "y": Y}
#: The compiler takes most of a minute for the program.
compiled = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of compiled programs."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("INVFLOW_CACHE", str(folder))
        yield folder / "stan"


@pytest.fixture(scope="module")
def target(programs: Path) -> StanTarget:
    return from_stan(PROGRAM, DATA, engine="httpstan")


def _likelihood(b: Tensor) -> Tensor:
    return Normal(b @ X.T, torch.tensor(0.5).double()).log_prob(Y)


def _joint(b: Tensor) -> Tensor:
    """The log density with all its constants."""
    prior = Normal(torch.zeros(()).double(), torch.tensor(2.0).double())
    return prior.log_prob(b).sum(-1) + _likelihood(b).sum(-1)


@compiled
def test_density_and_gradient_on_any_number_of_threads(
    target: StanTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = randn(3000, 2).requires_grad_()
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        values = [each(z) for each in (_joint, target.log_density)]
        slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
        assert_close((values[1], slopes[1]), (values[0], slopes[0]), 1e-12)


@compiled
def test_parameters_transformed_parameters_and_generated_quantities(target: StanTarget) -> None:
    z = randn(2, 3000, 2)
    values = target.constrain(z)
    assert_close(values["b"], z, 1e-15)
    assert_close(values["powers"], torch.stack([z, z**2, z**3], -1), 1e-12)
    noise = (values["rep"] - z @ X.T) / 0.5
    assert noise.mean().abs() < 5 / math.sqrt(noise.numel())
    assert (noise.var() - 1).abs() < 5 * math.sqrt(2 / noise.numel())
    # A draw has the same random numbers wherever it stands, another one has others.
    assert torch.equal(target.constrain(z[1, 7:9])["rep"], values["rep"][1, 7:9])
    assert len(noise.flatten().unique()) == noise.numel()


@compiled
def test_log_likelihoods_by_name(target: StanTarget) -> None:
    z = randn(7, 2)
    found = target.log_likelihood(z)
    assert list(found) == ["log_lik"]
    assert_close(found["log_lik"], _likelihood(z), 1e-12)


@compiled
def test_a_point_that_stan_rejects_has_no_density(target: StanTarget) -> None:
    z = torch.tensor([[0.0, 0.0], [200.0, 0.0], [math.nan, 0.0]], dtype=torch.float64)
    assert target.log_density(z).isfinite().tolist() == [True, False, False]


@compiled
def test_a_mistake_in_the_program_is_not_a_rejected_point(target: StanTarget) -> None:
    with pytest.raises(RuntimeError, match="index 6 out of range; expecting index to be between 1"):
        target.constrain(torch.tensor([[0.0, 200.0]], dtype=torch.float64))


@compiled
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"N": 5, "X": X}, ", which lack y: .*variable name=y"),
        ({"X": X, "y": Y}, ", which lack N: variable does not exist; .*variable name=N"),
        (DATA | {"N": 2.5}, ": int variable contained non-int values; .*variable name=N"),
        (DATA | {"X": X.T}, ": mismatch in dimension declared and found in context"),
        (DATA | {"N": 0}, ": .*N is 0, but must be greater than or equal to 1"),
        (DATA | {"y": "text"}, ": .*y"),
    ],
)
def test_bad_data_are_called_bad_data(
    data: Any, message: str, target: StanTarget, programs: Path
) -> None:
    with pytest.raises(ValueError, match=f"^model.stan does not accept the data{message}"):
        from_stan(PROGRAM, data, engine="httpstan")


@compiled
def test_fitted_saved_and_loaded(target: StanTarget, programs: Path, tmp_path: Path) -> None:
    posterior = fit(target, seed=0)
    covariance = torch.linalg.inv(X.T @ X / 0.25 + torch.eye(2) / 4)
    draws = posterior.draws(4000)["b"]
    assert_close(draws.mean(0), covariance @ X.T @ Y / 0.25, 0.05)
    assert_close(draws.T.cov(), covariance, 0.05)
    verdict = posterior.diagnose()
    marginal = MultivariateNormal(torch.zeros(5).double(), 4 * X @ X.T + 0.25 * torch.eye(5))
    assert verdict.level == "good"
    assert verdict.log_evidence == pytest.approx(float(marginal.log_prob(Y)), abs=0.002)
    assert {"b[0]", "powers[1, 2]", "rep[4]"} <= set(posterior.summary().index)

    posterior.save(tmp_path)
    made = {path: path.stat().st_mtime_ns for path in programs.iterdir()}
    loaded = Posterior.load(tmp_path, from_stan(PROGRAM, DATA, engine="httpstan"))
    assert {path: path.stat().st_mtime_ns for path in programs.iterdir()} == made
    for name, value in posterior.draws(100).items():
        assert torch.equal(loaded.draws(100)[name], value)


def test_a_syntax_error_is_shown_with_its_line(programs: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be compiled: .*line 17, column 2") as found:
        from_stan(PROGRAM.replace("b ~ normal(0, 2);", "b ~ normal(0, 2)"), engine="httpstan")
    assert "y ~ normal(X * b, 0.5);" in str(found.value)


def test_no_compiler_and_one_that_fails(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "parameters { real x; } model { x ~ normal(0, 1); }"
    monkeypatch.setenv("INVFLOW_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"no-such-compiler is missing\. Install a C\+\+ compiler"):
        from_stan(program, engine="httpstan")
    monkeypatch.setenv("CXX", "c++ -fsuch-an-option")
    with pytest.raises(ValueError, match=r"cannot be compiled: .*such-an-option"):
        from_stan(program, engine="httpstan")
    assert not list((tmp_path / "stan").iterdir())
