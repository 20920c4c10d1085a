from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

from invflow.flows import FlowMixture
from invflow.training import progress
from invflow.vi import Flat, Named, Posterior, Settings, fit
from invflow.vi.fitting import training
from invflow.vi.fitting.trial import POINTS
from tests.helpers import randn
from tests.vi import known

#: What tests can afford.
SHORT = Settings(
    batch_size=128, steps_per_round=40, evaluation_draws=1024, learning_rate_drops=1, max_steps=400
)
#: For what is true of any fit, however rough.
ROUGH = dataclasses.replace(SHORT, steps_per_round=20, max_steps=60)


def test_a_gaussian_of_condition_a_million() -> None:
    target, normal = known.correlated(6)
    posterior = fit(target, seed=1, settings=SHORT)
    x = posterior.sample(20_000)
    error = (x.mean(0) - normal.mean) / normal.stddev
    assert error.abs().max() < 0.05
    assert (x.std(0) / normal.stddev).log().abs().max() < 0.05
    verdict = posterior.diagnose()
    assert abs(verdict.log_evidence) < 0.01
    assert verdict.ess > 0.95 * verdict.draws
    assert verdict.level == "good"
    assert posterior.record is not None
    assert posterior.record.steps == 0
    assert "No flow was trained" in str(verdict)


def test_a_banana() -> None:
    posterior = fit(
        known.banana(), settings=Settings(steps_per_round=50, max_steps=1500, tolerance=0.01)
    )
    x = posterior.resample(4000)
    assert abs(float(x[:, 1].mean()) - 1) < 0.1
    assert abs(float(x[:, 1].var()) - 2.25) < 0.4
    assert abs(posterior.diagnose().log_evidence) < 0.02
    assert posterior.diagnose().level == "good"


def test_a_skewed_density_in_one_dimension() -> None:
    target = Flat(lambda z: 2 * z[:, 0] - 3 * z[:, 0].exp(), 1)
    posterior = fit(target, settings=Settings(steps_per_round=50, max_steps=600, tolerance=0.01))
    exact = math.lgamma(2.0) - 2 * math.log(3.0)
    assert abs(posterior.diagnose().log_evidence - exact) < 0.01
    mean = float(posterior.resample(4000).exp().mean())
    assert abs(mean - 2 / 3) < 0.03


def test_eight_modes_are_kept_apart_and_weighed() -> None:
    posterior = fit(known.circle(), settings=SHORT)
    assert isinstance(posterior.flow, FlowMixture)
    assert posterior.record is not None
    assert posterior.record is not None
    weights = torch.tensor([mode["weight"] for mode in posterior.record.modes])
    assert len(weights) == 8
    assert (weights - 1 / 8).abs().max() < 0.01
    assert abs(posterior.diagnose().log_evidence) < 0.01
    assert "8 modes" in str(posterior.diagnose())


def test_a_small_mode_is_neither_lost_nor_mistaken_for_the_posterior() -> None:
    centres, shares = torch.tensor([[0.0, 0.0], [5.0, 5.0]]), torch.tensor([0.97, 0.03])
    points = torch.tensor([[4.5, 5.5], [5.5, 5.0], [-0.5, 0.5]])
    target = known.modes(centres, 0.7, shares)
    posterior = fit(target, starting_points=points, settings=SHORT)
    assert posterior.record is not None
    assert posterior.record is not None
    assert [round(mode["weight"], 2) for mode in posterior.record.modes] == [0.97, 0.03]


def test_named_parameters() -> None:
    """A normal sample with a known answer for its mean, and a scale that stays positive."""
    data = 3.0 + 0.5 * randn(40)

    def log_density(mu: Tensor, sigma: Tensor) -> Tensor:
        residual = (data - mu.unsqueeze(-1)) / sigma.unsqueeze(-1)
        return -0.5 * residual.square().sum(-1) - 41 * sigma.log()

    target = Named(log_density, {"mu": constraints.real, "sigma": constraints.positive})
    posterior = fit(target, settings=SHORT)
    draws = posterior.draws(4000)
    assert (draws["sigma"] > 0).all()
    # Under the prior 1 / sigma the mean has a t distribution around that of the data.
    assert abs(float(draws["mu"].mean() - data.mean())) < 0.02
    scale = float(data.std()) / math.sqrt(40) * math.sqrt(39 / 37)
    assert abs(math.log(float(draws["mu"].std()) / scale)) < 0.1


def test_same_seed_same_posterior() -> None:
    first, second = (fit(known.banana(), seed=4, settings=ROUGH) for _ in range(2))
    assert torch.equal(first.sample(5), second.sample(5))
    other = fit(known.banana(), seed=5, settings=ROUGH)
    assert not torch.equal(first.sample(5), other.sample(5))


def test_global_random_numbers_are_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    fit(known.banana(), settings=ROUGH).diagnose()
    assert torch.equal(torch.get_rng_state(), before)


def test_flow_by_name() -> None:
    posterior = fit(known.banana(), flow="gaussian", settings=ROUGH)
    assert isinstance(posterior, Posterior)
    assert posterior.flow.described()["flow"]["name"] == "gaussian"


@pytest.mark.parametrize(
    ("flow", "error", "message"),
    [
        (3, TypeError, 'flow must be a name, such as "iaf", or a mapping with a "name", got 3'),
        ({"transforms": 2}, TypeError, r'a mapping with a "name", got \{\'transforms\': 2\}'),
        ("iaff", ValueError, "flow must be one of"),
    ],
)
def test_wrong_flow_is_named_before_the_search(flow: Any, error: Any, message: str) -> None:
    def never(z: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the density was evaluated")

    with pytest.raises(error, match=message):
        fit(never, 2, flow=flow)


def test_flow_of_ones_own() -> None:
    config = {"name": "iaf", "transforms": 1, "hidden_features": (8,), "univariate": "spline"}
    posterior = fit(known.banana(), flow=config, settings=ROUGH)
    assert isinstance(posterior, Posterior)
    described = posterior.flow.described()
    assert described["flow"]["univariate"]["name"] == "spline"


def test_a_killed_fit_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(known.banana(), settings=ROUGH)
    calls = 0

    def dying(z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == limit:
            raise MemoryError
        return known.banana().log_density(z)

    limit = 10**9
    fit(Flat(dying, 2), settings=ROUGH)
    calls, limit = 0, calls - 30
    with pytest.raises(MemoryError):
        fit(Flat(dying, 2), settings=ROUGH, directory=tmp_path)
    assert list(tmp_path.glob("mode-0/*.safetensors"))
    resumed = fit(known.banana(), settings=ROUGH, directory=tmp_path)
    assert torch.equal(resumed.sample(5), whole.sample(5))


def test_ctrl_c_gives_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training of the first of two modes is interrupted; the other stays a Gaussian."""
    banana = known.banana()

    def two(z: Tensor) -> Tensor:
        return torch.logaddexp(banana.log_density(z), banana.log_density(z + 8))

    step, steps = training._Run._step, 0

    def interrupted(run: training._Run) -> None:
        nonlocal steps
        steps += 1
        if steps == SHORT.steps_per_round + 5:
            raise KeyboardInterrupt
        step(run)

    monkeypatch.setattr(training._Run, "_step", interrupted)
    posterior = fit(Flat(two, 2), settings=SHORT)
    assert posterior.record is not None
    assert posterior.record.stopped == "interrupted"
    assert len(posterior.record.modes) == 2
    assert "(interrupted)" in str(posterior.diagnose())


def test_progress_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 1e-9)
    fit(known.banana(), settings=ROUGH, progress=True)
    assert "bound" in capsys.readouterr().err


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "shape": (lambda z: z, ValueError, "must return shape"),
    "detached": (lambda z: z.detach().sum(-1), ValueError, "must be differentiable"),
    "nowhere": (lambda z: z.sum(-1) * torch.nan, ValueError, "none of .* starting points"),
    "bounds": (
        lambda z: torch.where(z > 0, 4 * z.clamp(min=1e-9).log() - z, -torch.inf).sum(-1),
        ValueError,
        "declare bounded parameters with vi.Named",
    ),
    "ignored": (lambda z: -z[:, 0].square(), ValueError, r"entries \[1\]"),
    "constant": (lambda z: 0.0 * z.sum(-1), ValueError, r"entries \[0, 1\]"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_log_densities_are_refused(name: str) -> None:
    function, error, message = BAD[name]
    with pytest.raises(error, match=message):
        fit(function, 2, settings=SHORT)


def test_an_improper_posterior_is_refused() -> None:
    """Its density along the second axis falls too slowly to be integrated."""
    target = Flat(lambda z: -0.5 * z[:, 0].square() - 0.2 * torch.log1p(z[:, 1].square()), 2)
    with pytest.raises(ValueError, match=r"does not along z\[1\]: .* is improper"):
        fit(target, settings=SHORT)


def test_cauchy_tails_are_fitted() -> None:
    verdict = fit(known.heavy(5, 1.0), settings=SHORT).diagnose()
    assert verdict.level == "good"
    assert abs(verdict.log_evidence) < 3 * verdict.log_evidence_error


def test_starting_points_may_be_lists_or_arrays() -> None:
    points = [[0, 1], [1, 0]]
    settings = dataclasses.replace(SHORT, max_steps=1, steps_per_round=1)
    fits = [
        fit(known.banana(), starting_points=given, settings=settings).sample(10)
        for given in (points, np.array(points, dtype=np.float32), torch.tensor(points))
    ]
    assert torch.equal(fits[0], fits[1])
    assert torch.equal(fits[0], fits[2])


def test_bad_arguments() -> None:
    target = known.banana()
    with pytest.raises(
        TypeError, match=r"a target, got str; models become targets by vi.from_pymc"
    ):
        fit("model.stan")  # type: ignore[arg-type]
    with pytest.raises(
        TypeError,
        match=r"dim, the size of the vectors, is required .* vi\.from_pyro\(model\) instead",
    ):
        fit(target.log_density)
    with pytest.raises(
        ValueError, match="dim must be 2, the size of the target, or be left out, got 3"
    ):
        fit(target, 3)
    with pytest.raises(ValueError, match=r"starting_points must have shape \(count, 2\)"):
        fit(target, starting_points=torch.zeros(3))
    with pytest.raises(TypeError, match="starting_points must be a tensor, an array or nested"):
        fit(target, starting_points="here")
    with pytest.raises(ValueError, match="starting_points must be finite, got NaN"):
        fit(target, starting_points=[[0.0, math.nan]])
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        fit(target, seed=-1)
    with pytest.raises(TypeError, match="settings must be Settings, got dict"):
        fit(target, settings={"batch": 3})  # type: ignore[arg-type]


def test_a_directory_with_another_fit_is_refused(tmp_path: Path) -> None:
    fit(known.banana(), settings=ROUGH, directory=tmp_path)
    for target, settings in (
        (Flat(lambda z: known.banana().log_density(z - 5), 2), ROUGH),
        (known.banana(), dataclasses.replace(ROUGH, steps_per_round=41)),
    ):
        with pytest.raises(ValueError, match="checkpoints of another fit"):
            fit(target, settings=settings, directory=tmp_path)


def test_a_finished_fit_is_read_again_with_its_record(tmp_path: Path) -> None:
    first, second = (fit(known.banana(), settings=ROUGH, directory=tmp_path) for _ in range(2))
    assert first.record is not None
    assert second.record is not None
    assert second.record.bounds == first.record.bounds
    assert second.record.evaluations >= first.record.evaluations
    assert torch.equal(second.sample(5), first.sample(5))


def test_the_first_error_of_a_target_is_told() -> None:
    def fails(z: Tensor) -> Tensor:
        if len(z) != POINTS:
            raise ValueError(f"my model wants {POINTS} vectors")
        return -0.5 * z.square().sum(-1)

    with pytest.raises(ValueError, match=r"must be finite.*first error raised was: my model wants"):
        fit(fails, 2, settings=SHORT)


def test_a_search_interrupted_at_its_first_start_is_not_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(done: int, line: str) -> None:
        raise KeyboardInterrupt

    posterior = fit(known.circle(), settings=SHORT, report=interrupt)
    assert posterior.record is not None
    assert posterior.record.stopped == "interrupted"
    verdict = posterior.diagnose()
    assert verdict.level != "good"
    assert "interrupted before a flow was trained" in str(verdict)
