"""The tasks of `benchmarks/simulation.py` and `benchmarks/samplers.py` against their formulas."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from tests.helpers import assert_close, randn

FOLDER = Path(__file__).parents[1] / "benchmarks"
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Return what imports a script of the folder, for one test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"lines", "simulation", "simulators", "samplers", "workers"}:
            del sys.modules[name]


@pytest.fixture
def tasks(load: Load) -> dict[str, Any]:
    return {name: kind() for name, kind in load("simulators.tasks").TASKS.items()}


def up_to_a_constant(actual: Tensor, expected: object, tolerance: float = 1e-9) -> None:
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    assert_close(actual - actual.mean(), expected - expected.mean(), tolerance)


def test_data_are_repeated_by_their_seeds(tasks: dict[str, Any]) -> None:
    for task in tasks.values():
        (theta, x), (again, _) = task.simulations(3, 0), task.simulations(3, 0)
        assert torch.equal(theta, again)
        assert not torch.equal(theta, task.simulations(3, 1)[0])
        assert x.dtype == theta.dtype == torch.float32
        assert x.isfinite().all()
        assert task.log_likelihood(theta, x[0]).shape == (3,)
        assert not torch.equal(task.observation(0), task.observation(1))


def test_the_densities_of_normal_data(tasks: dict[str, Any]) -> None:
    theta, x = randn(7, 10), randn(10, seed=1)
    expected = stats.norm(theta.numpy(), math.sqrt(0.1)).logpdf(x.numpy()).sum(-1)
    for name in ("gaussian linear", "gaussian uniform"):
        up_to_a_constant(tasks[name].log_likelihood(theta, x), expected)


def test_the_density_of_slcp(tasks: dict[str, Any]) -> None:
    theta, x = randn(5, 5), randn(8, seed=1)
    expected: list[float] = []
    for one, two, three, four, five in theta.tolist():
        first, second, correlation = three**2, four**2, math.tanh(five)
        across = correlation * first * second
        covariance = [[first**2, across], [across, second**2]]
        points = x.reshape(4, 2).numpy()
        expected.append(stats.multivariate_normal([one, two], covariance).logpdf(points).sum())
    assert torch.allclose(
        tasks["slcp"].log_likelihood(theta, x), torch.tensor(expected).double(), rtol=1e-3
    )


def test_the_density_of_two_moons(tasks: dict[str, Any]) -> None:
    """That of the angle and the radius of the noise, through the map to the plane."""
    angle, radius = randn(9) * 0.5, 0.1 + 0.01 * randn(9, seed=1)
    theta = randn(9, 2, seed=2)
    noise = torch.stack([radius * angle.cos() + 0.25, radius * angle.sin()], -1)
    folded = -(theta[:, 0] + theta[:, 1]).abs(), theta[:, 1] - theta[:, 0]
    x = noise + torch.stack(folded, -1) / math.sqrt(2)
    expected = stats.norm(0.1, 0.01).logpdf(radius.numpy()) - np.log(radius.numpy())
    up_to_a_constant(tasks["two moons"].log_likelihood(theta, x), expected)
    behind = torch.tensor([[0.0, 0.0]])
    assert tasks["two moons"].log_likelihood(behind, torch.tensor([0.2, 0.1])) == -math.inf


def test_the_density_of_spikes(tasks: dict[str, Any]) -> None:
    task = tasks["bernoulli glm"]
    theta = randn(4, 10)
    spikes = torch.bernoulli(torch.full((100,), 0.3)).double()
    chance = (theta @ task.design.mT).sigmoid()
    expected = stats.bernoulli(chance.numpy()).logpmf(spikes.numpy()).sum(-1)
    found = task.log_likelihood(theta, spikes @ task.design)
    assert_close(found, torch.tensor(expected))
    smooth = np.diag(1 + np.sqrt(np.arange(9) / 9)) - 2 * np.eye(9, k=-1) + np.eye(9, k=-2)
    covariance = np.linalg.inv(smooth.T @ smooth)
    assert np.allclose(task.prior.covariance_matrix[1:, 1:], covariance, rtol=1e-4)
    assert task.prior.covariance_matrix[0, 0].item() == pytest.approx(2)


def test_an_epidemic_follows_its_equations(tasks: dict[str, Any]) -> None:
    task = tasks["sir"]
    theta = torch.tensor([[0.4, 0.125], [0.8, 0.2]])
    for (contact, recovery), found in zip(theta.tolist(), task.infected(theta), strict=True):

        def slope(_: float, state: np.ndarray, b: float = contact, r: float = recovery) -> Any:
            return [-b * state[0] * state[1], b * state[0] * state[1] - r * state[1]]

        times = np.arange(16, 161, 16)
        path = integrate.solve_ivp(
            slope, (0, 160), [1 - 1e-6, 1e-6], t_eval=times, rtol=1e-10, atol=1e-14
        )
        assert np.allclose(found, path.y[1], rtol=3e-3, atol=1e-6)
    x = task.simulate(theta[:1])[0]
    expected = stats.binom(1000, task.infected(theta).numpy()).logpmf(x.numpy()).sum(-1)
    assert torch.allclose(task.log_likelihood(theta, x), torch.tensor(expected).float(), rtol=1e-4)


def test_prey_and_predators_keep_their_invariant(tasks: dict[str, Any]) -> None:
    task = tasks["lotka-volterra"]
    theta = torch.tensor([[0.9, 0.05, 0.9, 0.05], [1.3, 0.13, 1.2, 0.05]]).double()
    prey, predators = task.log_populations(theta).unflatten(-1, (2, 10)).unbind(1)
    birth, eaten, death, growth = theta[:, :, None].unbind(1)

    def invariant(prey: Tensor, predators: Tensor) -> Tensor:
        kept = growth * prey.exp() - death * prey + eaten * predators.exp() - birth * predators
        return kept.expand(2, 10)

    start = torch.tensor(30.0).double().log(), torch.tensor(0.0).double()
    assert torch.allclose(invariant(prey, predators), invariant(*start), rtol=1e-3)
    x = task.simulate(theta[:1])[0]
    logs = task.log_populations(theta).numpy()
    expected = stats.lognorm(0.1, scale=np.exp(logs)).logpdf(x.numpy()).sum(-1)
    up_to_a_constant(task.log_likelihood(theta, x), expected, 1e-6 * abs(expected).max())


def test_tempering_finds_the_normal_posterior(load: Load, tasks: dict[str, Any]) -> None:
    references, task = load("simulators.references"), tasks["gaussian linear"]
    x = task.observation(0)
    tempered, exact = references.tempered(task, x), references.draws(task, x, 4000, 0)
    for draws in (tempered, exact):
        assert_close(draws.mean(0), x / 2, 0.02)
        assert_close(draws.std(0), torch.full((10,), math.sqrt(0.05)), 0.02)


def test_tempering_agrees_with_truncated_normals(load: Load, tasks: dict[str, Any]) -> None:
    references, task = load("simulators.references"), tasks["gaussian uniform"]
    x = task.observation(1)
    for draws in (references.tempered(task, x), references.draws(task, x, 4000, 0)):
        assert (draws.abs() <= 1).all()
        sides = [(side - x.numpy()) / task.deviation for side in (-1, 1)]
        expected = stats.truncnorm(*sides, loc=x.numpy(), scale=task.deviation).mean()
        assert_close(draws.mean(0), torch.tensor(expected).float(), 0.03)


def test_the_moons_are_where_their_density_is(load: Load, tasks: dict[str, Any]) -> None:
    references, task = load("simulators.references"), tasks["two moons"]
    x = task.observation(2)
    points = (torch.arange(1500) + 0.5) / 750 - 1
    grid = torch.cartesian_prod(points, points)
    weights = task.log_likelihood(grid, x).softmax(0)
    draws = references.draws(task, x, 20_000, 0)
    for moment in (lambda t: t, lambda t: t.square(), lambda t: t.prod(-1, keepdim=True)):
        expected = (weights[:, None] * moment(grid)).sum(0)
        assert_close(moment(draws).mean(0), expected, 0.02)


def test_the_modes_of_slcp_have_equal_mass(load: Load, tasks: dict[str, Any]) -> None:
    task = tasks["slcp"]
    draws = load("simulators.references").draws(task, task.observation(0), 2000, 0)
    assert_close((draws[:, 2:4] > 0).float().mean(0), torch.full((2,), 0.5), 0.05)
    with pytest.raises(ValueError, match="number must be at most 4000"):
        load("simulators.references").draws(task, task.observation(0), 5000, 0)


def test_references_are_stored_whole(
    load: Load, tasks: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    references, task = load("simulators.references"), tasks["two moons"]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = references.stored(task, 1, 50)
    assert torch.equal(first, references.draws(task, task.observation(1), 50, 1))
    monkeypatch.setattr(references, "draws", None)
    assert torch.equal(references.stored(task, 1, 50), first)
    assert [path.name for path in tmp_path.glob("*/*")] == ["two moons-1-50.npy"]


def test_the_classifier_tells_what_differs(load: Load) -> None:
    c2st = load("simulators.c2st").c2st
    one, two = torch.randn(2, 150, 2)
    assert c2st(one, two) == pytest.approx(0.5, abs=0.1)
    assert c2st(one + torch.tensor([4.0, 0.0]), two) > 0.95


@pytest.mark.parametrize("name", ["rosenbrock", "double gaussian", "funnel"])
def test_evidences_of_samplers_by_quadrature(
    load: Load, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    samplers = load("samplers")
    monkeypatch.setattr(samplers, "FEATURES", 2)
    monkeypatch.setattr(samplers, "LOG_PRIOR", -2 * math.log(20))
    points = (np.arange(4000) + 0.5) / 200 - 10
    example = samplers.EXAMPLES[name]
    total = sum(
        np.exp(example.log_likelihood(np.stack([np.full(4000, first), points], 1))).sum()
        for first in points
    )
    assert math.log(total / 4000**2) == pytest.approx(example.log_evidence(), abs=2e-3)


def test_lines_are_kept_and_shown(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation = load("simulation")
    monkeypatch.setattr(simulation, "RESULTS", tmp_path / "results" / "lines.csv")
    monkeypatch.setattr(simulation, "COMPARED", 50)
    monkeypatch.setattr(simulation, "TIMED", 100)
    monkeypatch.setattr(simulation, "OBSERVATIONS", 2)
    calls: list[tuple[str, ...]] = []

    def results(script: str, arguments: list[str], *_: object) -> tuple[list[Any], str]:
        calls.append(tuple(arguments))
        if arguments[3] == "zuko MAF in sbi":
            return [], "Error: no"
        said: list[Any] = []
        monkeypatch.setattr(simulation.workers, "say", said.append)
        simulation.main(arguments)
        return said, ""

    def prior(task: Any, theta: Tensor, x: Tensor) -> Any:
        return lambda number, observed: task.prior.sample((number,))

    monkeypatch.setattr(simulation.workers, "results", results)
    monkeypatch.setitem(simulation.TOOLS, "sbi MAF", prior)
    command = ["run", "--tasks", "two moons", "--numbers", "100"]
    for _ in range(2):
        simulation.main([*command, "--tools", "sbi MAF", "zuko MAF in sbi"])
    assert calls == [
        ("worker", "two moons", "100", tool, "0") for tool in ("sbi MAF", "zuko MAF in sbi")
    ]
    lines = load("lines").read(simulation.RESULTS)
    assert [line["observation"] for line in lines] == ["0", "1", ""]
    assert lines[-1]["note"] == "failed: Error: no"
    assert float(lines[0]["c2st"]) > 0.6
    capsys.readouterr()
    simulation.main(["table"])
    shown = capsys.readouterr().out
    assert "| c2st, 100 simulations | two moons |" in shown
    assert "zuko" not in shown


def test_runs_of_samplers_are_kept_and_shown(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samplers = load("samplers")
    monkeypatch.setattr(samplers, "RESULTS", tmp_path / "lines.csv")
    seconds = iter([1.0, 3.0])

    def results(*_: object) -> tuple[list[Any], str]:
        measures = dict.fromkeys(samplers.MEASURES, 5.0)
        return [{**measures, "seconds": next(seconds)}], ""

    monkeypatch.setattr(samplers.workers, "results", results)
    command = ["run", "--examples", "funnel", "--flows", "invflow's MAF", "--seeds", "0", "1"]
    for _ in range(2):
        samplers.main(command)
    capsys.readouterr()
    samplers.main(["table"])
    assert "| funnel | invflow's MAF | 2 | 5 | 5 | 5 | 5 |" in capsys.readouterr().out
