from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, VonMises, constraints

from invflow.flows import Wrapped
from invflow.vi import Named, Parameter, Posterior, Settings, angle, fit, from_pyro
from invflow.vi.fitting.angles import _chart, _concentration
from tests.helpers import assert_close

QUICK = Settings(
    accuracy="high",
    batch_size=128,
    steps_per_round=40,
    learning_rate_drops=1,
    max_steps=200,
    evaluation_draws=512,
)


def _log_z(log_density: Any) -> tuple[float, float, float]:
    """Return log evidence, mean direction and sd of an angle, by quadrature on the circle."""
    grid = torch.linspace(-math.pi, math.pi, 4001, dtype=torch.float64)[:-1]
    log_p = log_density(grid)
    weights = log_p.softmax(0)
    mean = torch.atan2((weights * grid.sin()).sum(), (weights * grid.cos()).sum())
    around = torch.remainder(grid - mean + math.pi, 2 * math.pi) - math.pi
    sd = (weights * around.square()).sum().sqrt()
    return float(log_p.logsumexp(0)) + math.log(2 * math.pi / 4000), float(mean), float(sd)


def _issue(t: Tensor) -> Tensor:
    return VonMises(0.0, 2.0).log_prob(t) + VonMises(t, 3.0).log_prob(torch.tensor(0.8))


def _across(t: Tensor) -> Tensor:
    return VonMises(math.pi, 2.0).log_prob(t)


def _narrow(t: Tensor) -> Tensor:
    return VonMises(3.1, 400.0).log_prob(t) + 5


def _uniform(t: Tensor) -> Tensor:
    return 0 * t + 1.0


def _two_sided(t: Tensor) -> Tensor:
    return Normal(t.cos(), 0.3).log_prob(torch.tensor(0.2))


@pytest.mark.parametrize("log_density", [_across, _narrow, _uniform])
def test_posteriors_of_an_angle(log_density: Any) -> None:
    posterior = fit(Named(log_density, {"t": angle}), settings=QUICK)
    log_z, mean, sd = _log_z(log_density)
    verdict = posterior.diagnose(4000)
    assert abs(verdict.log_evidence - log_z) < 5e-3
    assert verdict.ess > 3800
    row = posterior.summary().loc["t"]
    if log_density is not _uniform:  # which has no mean direction
        off = math.remainder(row["mean"] - mean, 2 * math.pi)
        assert abs(off) < 5 * row["mcse"]
        assert abs(row["sd"] - sd) < 0.03 * sd
    assert angle.check(posterior.draws(100)["t"]).all()


def test_a_circle_is_cut_between_two_modes() -> None:
    """At pi, where there is less than at 0; not opposite of the better mode, next to the other."""
    charted, _ = _chart(Named(_two_sided, {"t": angle}), None, 0)
    assert abs(float(charted.circles.centre)) < 0.3
    u = torch.linspace(-9, 9, 4001, dtype=torch.float64).unsqueeze(-1)
    log_z = float(charted.log_density(u).logsumexp(0)) + math.log(18 / 4000)
    assert abs(log_z - _log_z(_two_sided)[0]) < 1e-6


def test_the_model_of_the_issue() -> None:
    pyro = pytest.importorskip("pyro", reason="needs Pyro")

    def model() -> None:
        t = pyro.sample("t", pyro.distributions.VonMises(0.0, 2.0))
        pyro.sample("y", pyro.distributions.VonMises(t, 3.0), obs=torch.tensor(0.8))

    posterior = fit(from_pyro(model), settings=QUICK)
    assert abs(posterior.diagnose(4000).log_evidence + 1.2787) < 2e-3
    row = posterior.summary().loc["t"]
    assert abs(row["mean"] - 0.484) < 0.02
    assert abs(row["sd"] - 0.500) < 0.01


def test_angles_beside_other_parameters(tmp_path: Path) -> None:
    """A direction and a length, of a point seen with noise: log Z by quadrature."""
    seen = torch.tensor([-2.0, 0.3], dtype=torch.float64)

    def log_density(t: Tensor, r: Tensor) -> Tensor:
        place = r.unsqueeze(-1) * torch.stack([t.cos(), t.sin()], -1)
        prior = -math.log(2 * math.pi) - r
        return prior + Normal(place, 0.8).log_prob(seen).sum(-1)

    target = Named(log_density, {"t": angle, "r": constraints.positive})
    posterior = fit(target, settings=QUICK)
    t, r = torch.meshgrid(
        torch.linspace(-math.pi, math.pi, 401, dtype=torch.float64)[:-1],
        torch.linspace(0, 12, 2401, dtype=torch.float64),
        indexing="ij",
    )
    exact = float(log_density(t, r).flatten().logsumexp(0)) + math.log(2 * math.pi / 400 * 0.005)
    verdict = posterior.diagnose(4000)
    assert abs(verdict.log_evidence - exact) < 0.02
    assert verdict.level != "bad"
    posterior.save(tmp_path)
    twin = Posterior.load(tmp_path, target)
    z = posterior.sample(50)
    assert_close(twin.log_prob(z), posterior.log_prob(z), 1e-12)
    turned = z + torch.tensor([2 * math.pi, 0.0], dtype=torch.float64)
    assert_close(posterior.log_prob(turned), posterior.log_prob(z), 1e-8)
    refined = posterior.refine(80, chains=4, warmup=20)
    assert math.isfinite(float(refined.log_density.mean()))


def test_directions_on_a_sphere() -> None:
    pyro = pytest.importorskip("pyro", reason="needs Pyro")
    mean = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)
    target = from_pyro(lambda: pyro.sample("x", pyro.distributions.ProjectedNormal(mean)))
    assert target.angles == (1,)
    posterior = fit(target, settings=QUICK)
    assert abs(posterior.diagnose(4000).log_evidence) < 0.02
    assert posterior.draws(10)["x"].shape == (10, 3)


def test_starting_points_are_angles() -> None:
    points = torch.tensor([[3.0], [-3.0], [9.0]])
    posterior = fit(Named(_across, {"t": angle}), starting_points=points, settings=QUICK)
    assert isinstance(posterior.flow, Wrapped)
    assert abs(posterior.diagnose(2000).log_evidence) < 5e-3
    assert posterior.record is not None
    (location,) = posterior.record.modes[0]["location"]
    assert math.cos(location) < -0.9


def test_ctrl_c_in_the_first_search_is_heard() -> None:
    calls = 0

    def log_density(t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == limit:
            raise KeyboardInterrupt
        return _across(t)

    limit = -1
    _chart(Named(log_density, {"t": angle}), None, 0)
    limit, calls = calls - 5, 0  # some modes are found
    with pytest.raises(KeyboardInterrupt):
        fit(Named(log_density, {"t": angle}), settings=QUICK)


def test_concentrations_from_mean_cosines() -> None:
    kappa = torch.tensor([0.0, 0.5, 2.0, 4.0], dtype=torch.float64)
    length = torch.special.i1e(kappa) / torch.special.i0e(kappa)
    found = _concentration(length)
    assert ((found <= kappa) & (found >= 0.8 * kappa)).all()
    assert _concentration(torch.tensor([1.0, -0.3])).tolist() == [5.0, 0.0]


def test_an_improper_direction_beside_an_angle_is_named() -> None:
    from invflow.vi.targets.density import Density
    from invflow.vi.trust import probe

    def log_density(t: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return Normal(0.0, 1.0).log_prob(a) + 0 * b + VonMises(0.0, 1.0).log_prob(t)

    target = Named(log_density, {"t": angle, "a": constraints.real, "b": Parameter()})
    density = Density(target, torch.Generator().manual_seed(0))
    z = torch.randn((500, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    value, score = density.scores(z)
    assert probe.improper(density, z, value, score) == [2]


def test_the_report_counts_angles_from_their_mean_direction() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    from invflow.report.posterior.figures import around

    table = pandas.DataFrame({"t[0]": [3.1, -3.1, 3.0, -3.0], "tilt": [3.1, -3.1, 3.0, -3.0]})
    found = around(table, {"t"})
    assert (abs(abs(found["t[0]"]) - math.pi) < 0.2).all()
    assert found["t[0]"].max() - found["t[0]"].min() < 0.3
    assert (found["tilt"] == table["tilt"]).all()
