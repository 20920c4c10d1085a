from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

from invflow import vi
from invflow.flows import IAF, Flow, FlowMixture
from invflow.transforms import Compose
from invflow.vi import Flat, Named, Parameter, Posterior, Record, files
from tests.helpers import assert_close, generator, perturbed, randn
from tests.vi.trust.test_verdict import gaussian, modes

#: Gamma(3, 2) for tau, and normals around 1 with sd 0.5 for the two entries of theta.
TARGET = Named(
    lambda tau, theta: 2 * tau.log() - 2 * tau - 2 * (theta - 1).square().sum(-1),
    {"tau": constraints.positive, "theta": Parameter(shape=(2,))},
)


def posterior(seed: int = 0) -> Posterior:
    return Posterior(TARGET, gaussian(3, 0.5, 1.2), seed=seed)


def iaf(dim: int) -> IAF:
    flow = IAF(dim, transforms=2, hidden_features=(8,), generator=generator(0))
    return perturbed(flow, scale=0.3)


def test_samples_are_those_of_the_flow() -> None:
    flow = iaf(2)
    found = Posterior(Flat(modes(0.0), 2), flow)
    z = found.sample(5000)
    assert z.shape == (5000, 2)
    expected = flow().sample((5000,), generator=generator(9))
    assert (z.mean(0) - expected.mean(0)).abs().max() < 0.1
    torch.testing.assert_close(found.log_prob(z), flow().log_prob(z).detach())
    assert not found.log_prob(z).requires_grad


def test_the_same_call_gives_the_same_answer() -> None:
    state = torch.random.get_rng_state()
    found, again, other = posterior(), posterior(), posterior(seed=1)
    for draw in (Posterior.sample, Posterior.resample):
        first = draw(found, 100)
        assert torch.equal(first, draw(found, 100))
        assert torch.equal(first, draw(again, 100))
        assert not torch.equal(first, draw(other, 100))
    assert found.diagnose() == found.diagnose()
    assert not torch.equal(found.sample(100), found.resample(100))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_resampled_draws_are_those_of_the_target() -> None:
    found = posterior()
    named = found.draws(8000)
    assert {name: value.shape for name, value in named.items()} == {
        "tau": (8000,),
        "theta": (8000, 2),
    }
    assert float(named["tau"].mean()) == pytest.approx(1.5, abs=0.04)
    assert float(named["tau"].var()) == pytest.approx(0.75, rel=0.1)
    assert named["theta"].mean(0).tolist() == pytest.approx([1, 1], abs=0.03)
    assert named["theta"].std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.05)
    raw = found.draws(8000, resampled=False)
    assert float(raw["theta"].std()) == pytest.approx(1.2, rel=0.05)


def test_no_draw_comes_twice_where_weights_are_even() -> None:
    z = Posterior(Flat(modes(0.0), 2), gaussian(2, 0.1)).resample(2000)
    assert len(torch.unique(z, dim=0)) == 2000


def test_the_summary_has_means_quantiles_and_errors() -> None:
    table = posterior().summary()
    assert list(table.index) == ["tau", "theta[0]", "theta[1]"]
    assert list(table.columns) == ["mean", "sd", "3%", "97%", "mcse"]
    exact = {"tau": (1.5, math.sqrt(0.75)), "theta[0]": (1, 0.5), "theta[1]": (1, 0.5)}
    for name, (mean, sd) in exact.items():
        row = table.loc[name]
        assert abs(row["mean"] - mean) < 4 * row["mcse"]
        assert row["mcse"] < 0.05 * sd
        assert row["sd"] == pytest.approx(sd, rel=0.06)
    assert table.loc["theta[0]", "3%"] == pytest.approx(1 - 1.880794 * 0.5, abs=0.05)
    assert table.loc["theta[0]", "97%"] == pytest.approx(1 + 1.880794 * 0.5, abs=0.05)


def test_some_parameters_are_summarised() -> None:
    found = posterior()
    whole = found.summary()
    assert found.summary(var_names=["theta"]).equals(whole.loc[["theta[0]", "theta[1]"]])
    assert list(found.summary(var_names=("theta", "tau")).index)[-1] == "tau"
    with pytest.raises(ValueError, match="each of var_names must be one of 'tau', 'theta', got"):
        found.summary(var_names=["mu"])
    with pytest.raises(
        TypeError, match=r"var_names must be a sequence of names, such as \['tau'\]"
    ):
        found.summary(var_names="tau")


def test_errors_of_the_summary_are_those_of_many_repetitions() -> None:
    tables = [posterior(seed).summary(1000).loc["theta[0]"] for seed in range(100)]
    spread = np.std([table["mean"] for table in tables])
    assert spread == pytest.approx(np.mean([table["mcse"] for table in tables]), rel=0.25)


def test_inference_data_has_names_shapes_and_weights() -> None:
    data = posterior().to_arviz(500)
    assert data.posterior["tau"].shape == (1, 500)
    assert data.posterior["theta"].shape == (1, 500, 2)
    assert data.attrs["inference_library"] == "invflow"
    plain = posterior().to_arviz(500, resampled=False)
    stats = plain.sample_stats
    z = posterior().sample(500)
    np.testing.assert_allclose(stats["lp"][0], TARGET.log_density(z), rtol=1e-10)
    np.testing.assert_allclose(stats["log_q"][0], posterior().log_prob(z), rtol=1e-10)
    np.testing.assert_allclose(stats["log_weight"], stats["lp"] - stats["log_q"], rtol=1e-10)


def test_a_posterior_survives_the_disk(tmp_path: Path) -> None:
    record = Record(evaluations=7, seconds=1.5, stopped="converged", modes=[{"weight": 1.0}])
    mixture = FlowMixture([gaussian(3), iaf(3)]).double()
    for i, flow in enumerate((iaf(3), mixture)):
        saved = Posterior(TARGET, flow, seed=5, record=record)
        saved.save(tmp_path / str(i))
        loaded = Posterior.load(tmp_path / str(i), TARGET)
        assert loaded.record == record
        assert torch.equal(loaded.sample(50), saved.sample(50))
        assert {path.name for path in (tmp_path / str(i)).iterdir()} == {
            "config.json",
            "model.safetensors",
            "posterior.json",
        }


def test_a_failed_save_leaves_what_was_there(tmp_path: Path) -> None:
    posterior().save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    by_hand = Posterior(TARGET, Flow(Compose([gaussian(3).transform])), seed=8)
    with pytest.raises(ValueError, match="built from parts"):
        by_hand.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_bad_files_are_named(tmp_path: Path) -> None:
    posterior().save(tmp_path)
    with pytest.raises(ValueError, match="flow must have 2 features"):
        Posterior.load(tmp_path, Flat(modes(0.0), 2))
    file = tmp_path / "posterior.json"
    content = json.loads(file.read_text())
    for text, message in (
        (file.read_text()[:20], "not a valid JSON file"),
        ("[]", "not written by invflow"),
        (json.dumps({**content, "format": 2}), "format 2"),
        (json.dumps({**content, "record": {"other": 1}}), "unknown entries 'other'"),
        (json.dumps({**content, "record": [1]}), "record must be a mapping, got list"),
        (json.dumps({**content, "record": {"steps": "many"}}), "steps of a record must be like 0"),
        (json.dumps({**content, "record": {"modes": {}}}), "modes of a record must be"),
        (json.dumps({**content, "seed": "x"}), "seed must be an integer, got 'x'"),
        (json.dumps({**content, "seed": -1}), "seed must be at least 0"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            Posterior.load(tmp_path, TARGET)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"posterior\.json does not exist"):
        Posterior.load(tmp_path, TARGET)


def test_what_the_module_lacks_is_named() -> None:
    with pytest.raises(AttributeError, match=r"module 'invflow\.vi' has no attribute 'AutoMAF'"):
        vi.AutoMAF  # noqa: B018


def test_bad_input_is_named() -> None:
    with pytest.raises(TypeError, match="target must be a Target, got function"):
        Posterior(modes(0.0), gaussian(2))  # pyright: ignore
    with pytest.raises(TypeError, match="flow must be a Flow or a FlowMixture, got str"):
        Posterior(TARGET, "iaf")  # pyright: ignore
    with pytest.raises(ValueError, match="flow must have 3 features"):
        Posterior(TARGET, gaussian(2))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        posterior().resample(0)
    nowhere = Posterior(Flat(lambda z: z.sum(-1) * math.nan, 1), gaussian(1))
    with pytest.raises(ValueError, match="NaN or infinite at all of 4000 draws"):
        nowhere.resample(10)
    with pytest.raises(ValueError, match="NaN or infinite at all of 16000 draws"):
        nowhere.summary()


def test_density_that_gives_a_wrong_shape_is_named() -> None:
    def wrong(z: Tensor) -> Tensor:
        return z

    with pytest.raises(ValueError, match=r"log_density must return shape \(4096,\)"):
        Posterior(Flat(wrong, 2), gaussian(2)).diagnose()


def test_large_draws_go_through_in_chunks() -> None:
    largest = 0

    def log_density(z: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, len(z))
        return -0.5 * z.square().sum(-1)

    found = Posterior(Flat(log_density, 1), gaussian(1))
    assert found.resample(5000).shape == (5000, 1)
    found.diagnose(20_000)
    assert largest == 4096
    assert found.log_prob(randn(9000, 1)).shape == (9000,)


def _counting() -> tuple[Posterior, Callable[[], int]]:
    """Return a posterior, and how often its log density was evaluated since the last call."""
    calls = [0]

    def log_density(z: Tensor) -> Tensor:
        calls[0] += len(z)
        return -0.5 * z.square().sum(-1)

    def counted() -> int:
        found, calls[0] = calls[0], 0
        return found

    return Posterior(Flat(log_density, 3), gaussian(3, scale=1.2)), counted


def test_all_results_share_one_pool_of_draws(tmp_path: Path) -> None:
    """What the command line does: of 16,000 draws, in chunks of 4096, none is evaluated twice."""
    found, evaluations = _counting()
    verdict = found.diagnose()
    # Three chunks; as many points of the wider search; gradients; two distances along both ends of
    # 3 axes, twice 3 principal directions, and 4 more; four along both ends of 3 axes and 16 rays.
    rays = 2 * 2 * (3 + 2 * 3 + 4) + 4 * (2 * 3 + 16)
    assert evaluations() == 3 * 4096 + 10_000 + 500 + rays
    files.write(found, verdict, tmp_path, 4000)
    assert evaluations() == 4096
    found.summary()
    found.to_pandas()
    found.to_arviz()
    found.draws(2000)
    found.resample(100)
    assert evaluations() == 0


def test_results_are_the_same_in_any_order() -> None:
    first, second = posterior(), posterior()
    verdict, draws, summary = first.diagnose(), first.resample(3000), first.summary()
    assert summary.equals(second.summary())
    assert torch.equal(draws, second.resample(3000))
    assert verdict == second.diagnose() == first.diagnose()


def test_another_flow_gets_draws_of_its_own() -> None:
    found, evaluations = _counting()
    before = found.resample(100)
    state = copy.deepcopy(found.flow.state_dict())
    evaluations()
    optimizer = torch.optim.SGD(found.flow.parameters(), lr=0.1)
    found.flow().log_prob(torch.ones(3).double()).backward()
    optimizer.step()
    changed = found.resample(100)
    assert evaluations() == 4096
    assert not torch.equal(changed, before)
    assert_close(changed, Posterior(found.target, copy.deepcopy(found.flow)).resample(100))
    found.flow.load_state_dict(state)
    assert torch.equal(found.resample(100), before)


def test_draws_as_a_table() -> None:
    table = posterior().to_pandas(500)
    named = posterior().draws(500)
    assert list(table.columns) == ["tau", "theta[0]", "theta[1]"]
    assert np.array_equal(table["tau"], named["tau"])
    assert np.array_equal(table["theta[1]"], named["theta"][:, 1])
    plain = posterior().to_pandas(50, resampled=False)
    assert np.array_equal(plain["tau"], posterior().draws(50, resampled=False)["tau"])


@pytest.mark.parametrize(
    "z",
    [
        [[0, 1, 2], [1, 0, -1]],
        [[0.0, 1.0, 2.0], [1.0, 0.0, -1.0]],
        np.array([[0, 1, 2], [1, 0, -1]]),
        np.array([[0, 1, 2], [1, 0, -1]], dtype=">f4"),
        np.array([[0, 1, 2], [1, 0, -1]], dtype=np.longdouble),
        np.broadcast_to(np.array([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0]]), (2, 3)),
        torch.tensor([[0, 1, 2], [1, 0, -1]]),
        torch.tensor([[0.0, 1, 2], [1, 0, -1]], dtype=torch.float32),
        [torch.tensor([0.0, 1, 2]), torch.tensor([1.0, 0, -1])],
    ],
    ids=str,
)
def test_log_prob_takes_numbers_of_any_kind(z: Any) -> None:
    expected = posterior().log_prob(torch.tensor([[0.0, 1, 2], [1, 0, -1]]).double())
    assert torch.equal(posterior().log_prob(z), expected)
    single = Posterior(TARGET, gaussian(3, 0.5, 1.2).float())
    assert single.log_prob(z).dtype == torch.float32
    assert_close(single.log_prob(z).double(), expected, 1e-5)


@pytest.mark.parametrize(
    ("z", "error", "message"),
    [
        (1.0, ValueError, r"z must have shape \(\*batch, 3\), got \(\)"),
        ([[1, 2]], ValueError, r"z must have shape \(\*batch, 3\), got \(1, 2\)"),
        ([[1, 2, 3], [4]], TypeError, "z must be a tensor, an array or nested lists: "),
        ("abc", TypeError, "z must be a tensor, an array or nested lists of real numbers, got str"),
        (None, TypeError, "real numbers, got NoneType"),
        ([[1j, 0, 0]], TypeError, "real numbers, got list of dtype complex128"),
        (
            torch.zeros(1, 3, dtype=torch.complex64),
            TypeError,
            "z must hold real numbers, got dtype",
        ),
    ],
)
def test_log_prob_names_what_is_wrong(z: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        posterior().log_prob(z)


def test_log_prob_takes_any_batch_shape() -> None:
    posterior = Posterior(Flat(lambda z: -0.5 * z.square().sum(-1), 2), gaussian(2))
    z = posterior.sample(6)
    assert_close(posterior.log_prob(z.reshape(2, 3, 2)).flatten(), posterior.log_prob(z))
    assert posterior.log_prob(z[0]).shape == ()
    with pytest.raises(ValueError, match=r"z must have shape \(\*batch, 2\), got \(3,\)"):
        posterior.log_prob(torch.zeros(3))
