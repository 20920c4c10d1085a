from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pydantic
import pytest
import torch
from scipy.stats import kstest
from scipy.stats import t as student
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from invflow.flows import IAF, DiagonalNormal, Flow, Mixture, StandardNormal, StudentT
from invflow.transforms import Permutation
from invflow.vi import Flat, Settings
from invflow.vi.fitting.training import Noise, train
from invflow.vi.fitting.weigh import weigh
from invflow.vi.targets.density import Density
from tests.helpers import assert_close, generator, randn
from tests.vi import known

QUICK = Settings(
    batch_size=64, steps_per_round=20, evaluation_draws=512, learning_rate_drops=1, max_steps=60
)


def _flow(seed: int = 1) -> Flow:
    return IAF(2, 0, 2, (8,), generator=generator(seed)).double()


def _train(flow: Flow, settings: Settings = QUICK, directory: Path | None = None) -> list[float]:
    bounds: list[float] = []
    density = Density(known.banana(), generator(0))

    def look(done: int, bound: float, effective: float) -> None:
        bounds.append(bound)

    train(flow, density, settings, 5, look, directory)
    return bounds


def _numbers(flow: Flow) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in flow.parameters()])


def test_noise_is_standard_normal_and_the_same_from_any_place() -> None:
    whole = Noise(StandardNormal(3), seed=1)(0, 4096, randn(1))
    assert whole.mean(0).abs().max() < 1e-3
    assert (whole.T @ whole / 4096 - torch.eye(3)).abs().max() < 1e-2
    noise = Noise(StandardNormal(3), seed=1)
    noise(0, 7, randn(1))
    assert torch.equal(noise(100, 50, randn(1)), whole[100:150])
    assert torch.equal(noise(20, 50, randn(1)), whole[20:70])


def test_noise_of_another_base_is_its_own_and_the_same_from_any_place() -> None:
    whole = Noise(StudentT(3, df=2.0), seed=1)(0, 4096, randn(1))
    for column in whole.unbind(-1):
        assert kstest(column, student(2.0).cdf).pvalue > 1e-3
    noise = Noise(StudentT(3, df=2.0), seed=1)
    assert torch.equal(noise(100, 500, randn(1)), whole[100:600])
    assert torch.equal(noise(20, 50, randn(1)), whole[20:70])
    assert not torch.equal(Noise(StudentT(3, df=2.0), seed=2)(0, 4096, randn(1)), whole)


def test_a_learned_base_is_trained_with_the_flow() -> None:
    """The flow is the identity; only its base can find N(3, 1 / 4)."""
    flow = Flow(Permutation([0]), DiagonalNormal(1)).double()
    target = Flat(lambda z: -2 * (z - 3).square().sum(-1), 1)
    settings = Settings(
        accuracy="high", batch_size=64, max_steps=1000, learning_rate=0.05, tolerance=0.0
    )
    bounds: list[float] = []

    def look(done: int, bound: float, effective: float) -> None:
        bounds.append(bound)

    train(flow, Density(target, generator(0)), settings, 0, look)
    mean, log_scale = (each.item() for each in flow.base.parameters())
    found, exact = Normal(mean, math.exp(log_scale)), Normal(3.0, 0.5)
    bound = 0.5 * math.log(math.pi / 2) - float(kl_divergence(found, exact))
    assert bounds[-1] == pytest.approx(bound, abs=0.01)
    assert mean == pytest.approx(3.0, abs=0.1)
    assert math.exp(log_scale) == pytest.approx(0.5, abs=0.05)


def test_a_learned_base_without_a_path_to_its_parameters_is_refused() -> None:
    flow = Flow(Permutation([0]), Mixture(1, ["normal", "diagonal"])).double()
    with pytest.raises(
        ValueError,
        match="with reparameterised samples, got Mixture, whose parameters have no gradient",
    ):
        train(flow, Density(known.heavy(1), generator(0)), QUICK, 0, lambda *look: None)


def test_bound_rises_to_the_evidence_and_training_ends_by_itself() -> None:
    flow = IAF(2, 0, 3, (32, 32), generator=generator(1)).double()
    settings = Settings(steps_per_round=50, tolerance=0.01)
    density = Density(known.banana(), generator(0))
    steps, reason = train(flow, density, settings, 0, lambda done, bound, effective: None)
    assert reason == "converged"
    assert steps < settings.max_steps
    with torch.no_grad():
        x, log_q = flow().rsample_and_log_prob((5000,), generator=generator(3))
    assert float((known.banana().log_density(x) - log_q).mean()) > -0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (
            {"batch_size": 10, "train_samples": 3},
            "train_samples must divide batch_size=10, got 3",
        ),
        ({"learning_rate_drops": -1}, "learning_rate_drops must be at least 0, got -1"),
        ({"learning_rate": -1.0}, "learning_rate must be positive, got -1.0"),
        ({"tolerance": math.nan}, "tolerance must be at least 0, got nan"),
        ({"averaging_decay": 1.0}, "averaging_decay must be at least 0 and below 1, got 1.0"),
    ],
)
def test_bad_settings(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**options)  # type: ignore[arg-type]


def test_every_setting_has_a_help_text_and_pydantic_reads_it() -> None:
    class Config(pydantic.BaseModel):
        settings: Settings = Settings()

    schema = Config.model_json_schema()["$defs"]["Settings"]["properties"]
    assert schema.keys() == {each.name for each in dataclasses.fields(Settings)}
    assert all(each["description"].endswith(".") for each in schema.values())


def test_the_docs_list_every_setting() -> None:
    text = (Path(__file__).parents[3] / "docs" / "how-to" / "posteriors.md").read_text()
    for each in dataclasses.fields(Settings):
        default = f"{each.default:g}" if isinstance(each.default, float) else str(each.default)
        cells = (f"`{each.name}`", default, each.metadata["description"])
        row = r" +\| ".join(map(re.escape, cells))
        assert re.search(rf"\| {row} +\|", text), each.name


def test_the_bound_reported_never_falls() -> None:
    bounds = _train(_flow(), dataclasses.replace(QUICK, max_steps=200, learning_rate_drops=3))
    assert bounds == sorted(bounds)
    assert len(bounds) > 2


def test_same_seed_same_flow() -> None:
    first, second = _flow(), _flow()
    _train(first)
    torch.randn(3)
    _train(second)
    assert torch.equal(_numbers(first), _numbers(second))


class _KilledError(Exception):
    """As if the process had ended here."""


@pytest.mark.parametrize("after", [1, 2])
def test_a_killed_run_goes_on_to_the_same_numbers(after: int, tmp_path: Path) -> None:
    whole, killed, resumed = _flow(), _flow(), _flow()
    _train(whole)
    calls = 0

    def kill(done: int, bound: float, effective: float) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise _KilledError

    density = Density(known.banana(), generator(0))
    with pytest.raises(_KilledError):
        train(killed, density, QUICK, 5, kill, tmp_path)
    _train(resumed, QUICK, tmp_path)
    assert torch.equal(_numbers(resumed), _numbers(whole))


def test_ctrl_c_gives_the_best_so_far() -> None:
    flow = _flow()
    before = _numbers(flow)

    def interrupt(done: int, bound: float, effective: float) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    density = Density(known.banana(), generator(0))
    steps, reason = train(flow, density, QUICK, 5, interrupt)
    assert (steps, reason) == (40, "interrupted")
    assert not torch.equal(_numbers(flow), before)
    short = _flow()
    _train(short, dataclasses.replace(QUICK, max_steps=40))
    assert torch.equal(_numbers(flow), _numbers(short))


def test_not_a_number_here_and_there_is_survived() -> None:
    def holey(z: Tensor) -> Tensor:
        value = known.banana().log_density(z)
        return torch.where(z[:, 0] > 1.0, torch.nan, value)

    flow = _flow()
    density = Density(Flat(holey, 2), generator(0))
    train(flow, density, QUICK, 5, lambda done, bound, effective: None)
    assert _numbers(flow).isfinite().all()
    assert density.rejected > 0


def test_shares_are_those_of_the_modes() -> None:
    centres, shares = torch.tensor([[-6.0, 0.0], [6.0, 0.0]]), torch.tensor([0.8, 0.2])
    density = Density(known.modes(centres, 1.0, shares), generator(0))
    flows = [IAF(2, 0, 1, (), generator=generator(i)).double() for i in (1, 2)]
    for flow, centre in zip(flows, centres, strict=True):
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.zero_()
            x, _ = flow.transform(torch.zeros(2).double())
            bias = next(p for p in flow.parameters() if p.shape == (4,))
            bias[0] = centre[0] - x[0]
    found, evidence = weigh(density, flows, 0)
    assert_close(found, shares.double(), 0.02)
    assert_close(torch.tensor(evidence).exp(), shares, 0.05)
