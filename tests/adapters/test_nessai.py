from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invflow.adapters.nessai import flow_class
from tests.helpers import assert_close, perturbed, randn

pytest.importorskip("nessai", reason="needs nessai")

# What nessai says of itself.
pytestmark = pytest.mark.filterwarnings("default", "error:::invflow")


def sized(name: str = "maf", features: int = 3) -> Any:
    return flow_class(name)(features, 8, 2, 1)


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("name", ["maf", "nsf", "iaf"])
def test_directions_and_densities(name: str, features: int) -> None:
    flow = sized(name, features)
    inner = perturbed(flow.flow)
    x = randn(5, features)
    z, ladj = flow.forward(x)
    back, inverse_ladj = flow.inverse(z)
    assert_close(back, x, 1e-7)
    assert_close(inverse_ladj, -ladj, 1e-7)
    again, log_q = flow.forward_and_log_prob(x)
    assert_close(again, z)
    assert_close(log_q, inner().log_prob(x))
    assert_close(flow.log_prob(x), log_q)
    assert_close(flow.base_distribution_log_prob(z) + ladj, log_q)
    drawn, log_drawn = flow.sample_and_log_prob(4)
    assert_close(flow.log_prob(drawn), log_drawn, 1e-7)
    assert flow.sample(4).shape == flow.sample_latent_distribution(4).shape == (4, features)


def test_settings_of_nessai_are_sizes_of_the_flow() -> None:
    flow = flow_class("maf", order="random")(5, None, 4, 3)
    assert flow.flow.config["transforms"] == 4
    assert flow.flow.config["hidden_features"] == [10, 10, 10]
    assert flow.flow.config["order"] == "random"
    with pytest.raises(ValueError, match="mafs"):
        flow_class("mafs")


def test_weights_are_reset() -> None:
    utils = pytest.importorskip("nessai.flows.utils")
    flow = sized()
    x = randn(5, 3)
    standard = -0.5 * x.square().sum(-1) - 1.5 * math.log(2 * math.pi)
    perturbed(flow.flow)
    assert (flow.log_prob(x) - standard).abs().max() > 0.5
    flow.apply(utils.reset_weights)
    assert_close(flow.log_prob(x), standard, 0.2)  # nearly the identity, as at first


def test_the_transform_is_frozen_and_freed() -> None:
    flow = sized()
    flow.freeze_transform()
    assert not any(each.requires_grad for each in flow.flow.transform.parameters())
    flow.unfreeze_transform()
    assert all(each.requires_grad for each in flow.flow.transform.parameters())


def test_nessai_finds_the_evidence(tmp_path: Path) -> None:
    """Of a standard normal likelihood in two dimensions under a uniform prior of side 10."""

    class Model(pytest.importorskip("nessai.model").Model):
        def __init__(self) -> None:
            self.names = ["a", "b"]
            self.bounds = {name: [-5.0, 5.0] for name in self.names}

        def log_prior(self, x: Any) -> Any:
            return np.log(self.in_bounds(x), dtype=float) - 2 * math.log(10)

        def log_likelihood(self, x: Any) -> Any:
            return sum(-0.5 * x[name] ** 2 for name in self.names) - math.log(2 * math.pi)

    sampler = pytest.importorskip("nessai.flowsampler").FlowSampler(
        Model(),
        output=str(tmp_path),
        nlive=100,
        seed=1,
        flow_config={"flow": flow_class("maf"), "n_blocks": 2, "n_neurons": 8},
        training_config={"max_epochs": 20},
        poolsize=100,
        stopping=1.0,
        plot=False,
        resume=False,
    )
    sampler.run(plot=False, save=False)
    assert sampler.log_evidence == pytest.approx(-2 * math.log(10), abs=0.6)
