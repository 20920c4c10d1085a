"""Messages about posteriors that no other test reaches, word for word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributions import Normal, constraints

import invflow
from invflow import vi
from invflow.vi import files
from invflow.vi.posterior import Posterior
from invflow.vi.record import Record
from invflow.vi.targets import model_file
from invflow.vi.targets.sphere import Sphere
from invflow.vi.trust.calibrate import calibrate


def _normal(z: torch.Tensor) -> torch.Tensor:
    return -0.5 * z.square().sum(-1)


def _calibrated() -> Any:
    """Calibrate posteriors that lack the parameter of the simulations."""
    posterior = SimpleNamespace(draws=lambda count: {"x": torch.zeros(count)})
    return calibrate(lambda generator: ({"y": torch.zeros(())}, None), lambda data: posterior)


def _subsampled() -> Any:
    prior = vi.Named(Normal(0.0, 1.0).log_prob, {"value": constraints.real})
    wrong = vi.Subsampled(prior, lambda y, value: value, [torch.zeros(10)], batch_size=5)
    return wrong.log_density(torch.zeros(2, 1))


CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "flow-of-another-size": (
        lambda: Posterior(vi.Flat(_normal, 2), invflow.IAF(3, context=1).double()),
        ValueError,
        "flow must have 2 features, the target's size, and no context, got 3 features and a "
        "context of 1",
    ),
    "record-of-what": (
        lambda: Record.from_dict({"nothing": 1}),
        ValueError,
        "record has unknown entries 'nothing'",
    ),
    "direction": (
        lambda: Sphere().inverse_shape(torch.Size([1])),
        ValueError,
        r"a unit vector must have at least 2 entries, got shape \(1,\)",
    ),
    "likelihood-of-another-shape": (
        _subsampled,
        ValueError,
        r"log_likelihood must return shape \(2, 10\) for 2 draws and 10 rows, got \(2,\)",
    ),
    "parameter": (
        lambda: vi.Named(_normal, {"x": 1.0}),  # pyright: ignore[reportArgumentType]
        TypeError,
        r"parameters\['x'\] must be a Parameter or a constraint, got float",
    ),
    "bound-of-a-record": (
        lambda: Record.from_dict({"bounds": [1]}),
        ValueError,
        "a bound must be a mode, steps and nats, got 1",
    ),
    "calibration": (
        _calibrated,
        ValueError,
        "fit must return draws of 'y', got 'x'",
    ),
    "integers": (
        lambda: vi.fit(lambda z: z.long().sum(-1), dim=2),
        TypeError,
        "log_density must return floating-point numbers, got torch.int64",
    ),
    "random": (
        lambda: vi.fit(lambda z: _normal(z) + torch.rand(()), dim=2),
        ValueError,
        "got .* and then .*: is part of it random",
    ),
    "no-gradient": (
        lambda: vi.fit(lambda z: _normal(z.detach()), dim=2),
        ValueError,
        "log_density must be differentiable, got values without a gradient: is the argument "
        "detached, or converted to a number or a NumPy array",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call()


def test_a_damaged_summary(tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has a damaged file: "):
        files.read(tmp_path)


def test_a_pymc_model_has_its_data_already(tmp_path: Path) -> None:
    pytest.importorskip("pymc")
    (tmp_path / "model.py").write_text(
        "import pymc\nwith pymc.Model() as model:\n    pymc.Normal('x')\n"
    )
    (tmp_path / "data.json").write_text('{"y": [1.0]}')
    with pytest.raises(ValueError, match="a PyMC model includes its data; leave out --data"):
        model_file.load(tmp_path / "model.py", tmp_path / "data.json")


def test_discrete_variables_of_pymc() -> None:
    pymc = pytest.importorskip("pymc")
    with pymc.Model() as model:
        pymc.Bernoulli("k", 0.5)
    message = (
        "model must have continuous variables, got k, which is discrete: marginalise it first "
        r"\(pymc.Mixture"
    )
    with pytest.raises(ValueError, match=message):
        vi.from_pymc(model)


def test_censored_variables_of_pymc() -> None:
    pymc = pytest.importorskip("pymc")
    with pymc.Model() as model:
        pymc.Censored("x", pymc.Normal.dist(), lower=0.0, upper=None)
    with pytest.raises(ValueError, match="model must have continuous variables, got x, "):
        vi.from_pymc(model)


def test_discrete_sites_of_pyro() -> None:
    pyro = pytest.importorskip("pyro")

    def model() -> None:
        pyro.sample("k", pyro.distributions.Bernoulli(0.5))

    message = "model must have continuous latent sites, got 'k', which is discrete: marginalise"
    with pytest.raises(ValueError, match=message):
        vi.from_pyro(model)
