"""A flow at a context is a torch distribution."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import (
    ExpTransform,
    Independent,
    Normal,
    TransformedDistribution,
    constraints,
    kl_divergence,
)

from invflow import IAF, MAF, Flow
from invflow.flows import FlowDistribution, FlowMixture, MixtureDistribution
from tests.helpers import (
    BATCHES,
    FLOWS,
    SMALL,
    assert_close,
    context_for,
    fast,
    flow,
    generator,
    randn,
)

flows = pytest.mark.parametrize("name", FLOWS)
batches = pytest.mark.parametrize("batch", BATCHES, ids=str)


@flows
@batches
def test_shapes(name: str, batch: tuple[int, ...]) -> None:
    flow = FLOWS[name]()
    q = flow(context_for(flow, *batch))
    batch = batch if flow.context else ()
    assert q.batch_shape == batch
    assert q.event_shape == (flow.features,)
    assert q.has_rsample
    assert q.support is constraints.real_vector
    assert q.support.check(q.sample((4,))).all()
    for sample_shape in [(), (4,), (2, 0, 3)]:
        x = q.sample(sample_shape)
        assert x.shape == (*sample_shape, *batch, flow.features)
        assert x.dtype == torch.float64
        assert q.log_prob(x).shape == (*sample_shape, *batch)


@flows
def test_samples_have_gradients_or_not(name: str) -> None:
    flow = FLOWS[name]()
    q = flow(context_for(flow, 3))
    assert q.rsample().requires_grad
    assert not q.sample().requires_grad
    x, log_q = q.rsample_and_log_prob()
    # Weights may all be hidden by their masks where D = 1, biases never are.
    named = flow.named_parameters()
    biases = [each for name, each in named if each.ndim == 1 and not name.endswith("weight")]
    found = torch.autograd.grad(x.sin().sum() + log_q.sum(), biases)
    assert all(gradient.any() for gradient in found)


@flows
def test_same_seed_same_samples_and_torchs_own_is_untouched(name: str) -> None:
    flow = FLOWS[name]()
    q = flow(context_for(flow, 3))
    state = torch.get_rng_state()
    draws = [
        lambda g: q.sample((2,), generator=g),
        lambda g: q.rsample((2,), generator=g).detach(),
        lambda g: q.rsample_and_log_prob((2,), generator=g)[0].detach(),
        lambda g: q.estimate_mean(3, generator=g).detach(),
        lambda g: q.estimate_variance(3, generator=g).detach(),
        lambda g: q.estimate_entropy(3, generator=g).detach(),
    ]
    for draw in draws:
        first, second, other = (draw(generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_torchs_own_generator_is_used_by_default() -> None:
    q = FLOWS["iaf-2"]()()
    torch.manual_seed(3)
    first = q.sample()
    second = q.sample()
    torch.manual_seed(3)
    assert torch.equal(q.sample(), first)
    assert not torch.equal(first, second)


def test_same_generator_same_flow_and_torchs_own_is_untouched() -> None:
    state = torch.get_rng_state()
    first, second, other = (
        IAF(3, 2, order="random", generator=generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    pairs = zip(first.state_dict().values(), other.state_dict().values(), strict=True)
    assert not all(torch.equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize("name", ["iaf-2", "iaf-3-gated-context"])
def test_expand(name: str) -> None:
    flow = FLOWS[name]()
    q = flow(context_for(flow, 3)) if flow.context else flow().expand((3,))
    wide = q.expand((2, 3))
    assert wide.batch_shape == (2, 3)
    x, log_q = wide.rsample_and_log_prob((4,), generator=generator(1))
    assert x.shape == (4, 2, 3, flow.features)
    assert (x[:, 0] != x[:, 1]).all()
    assert_close(q.log_prob(x), log_q, 1e-8)
    assert_close(wide.log_prob(x), log_q, 1e-8)
    assert wide.log_prob(x[0, 0]).shape == (2, 3)


@pytest.mark.parametrize("name", ["iaf-2", "iaf-3-gated-context"])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 2)], ids=str)
def test_expand_neither_shrinks_nor_mismatches(name: str, shape: tuple[int, ...]) -> None:
    flow = FLOWS[name]()
    q = flow(context_for(flow, 3)) if flow.context else flow().expand((3,))
    with pytest.raises((RuntimeError, ValueError)):
        q.expand(shape)


def test_expand_keeps_validation_off() -> None:
    q = FLOWS["iaf-2"]()(validate_args=False).expand((3,))
    assert q.log_prob(torch.full((2,), float("nan"), dtype=torch.float64)).isnan().all()


#: What has no closed form, and what its error says to take instead.
CLOSED = {
    "mean": (
        lambda q: q.mean,
        r"the mean of a .* has no closed form; call estimate_mean\(samples\)",
    ),
    "variance": (lambda q: q.variance, r"the variance of a .*; call estimate_variance\(samples\)"),
    "stddev": (
        lambda q: q.stddev,
        r"standard deviation of a .*; use estimate_variance\(samples\)\.sqrt",
    ),
    "mode": (lambda q: q.mode, r"mode of a .*; maximise log_prob\(x\), starting from draws"),
    "entropy": (lambda q: q.entropy(), r"the entropy of a .*; call estimate_entropy\(samples\)"),
    "perplexity": (
        lambda q: q.perplexity(),
        r"perplexity of a .*; use estimate_entropy\(samples\)\.exp",
    ),
    "cdf": (
        lambda q: q.cdf(q.sample()),
        r"the distribution function of .* count the draws of sample\(",
    ),
    "icdf": (
        lambda q: q.icdf(q.sample()),
        "the quantile function .* those of each feature of draws",
    ),
    "enumerate": (
        lambda q: q.enumerate_support(),
        "support .* is continuous and cannot be enumerated",
    ),
    "kl-own": (
        lambda q: kl_divergence(q, q),
        r"no closed form; estimate it: invflow\.flows\.estimate_kl\(p, q\)",
    ),
    "kl": (
        lambda q: kl_divergence(q, Normal(0, 1)),
        r"KL divergence of p, .* from q, a Normal, has no closed form",
    ),
    "kl-reverse": (
        lambda q: kl_divergence(Independent(Normal(torch.zeros(3), 1.0), 1), q),
        r"KL divergence of p, a Independent, from q, .*estimate_kl\(p, q\)",
    ),
}


def _distributions() -> list[FlowDistribution | MixtureDistribution]:
    """Return a flow's, one without reparameterised samples, and a mixture's."""
    iaf = FLOWS["iaf-3-gated-context"]()
    kinked = flow(IAF, 3, base={"name": "mixture", "components": ["normal", "logistic"]})()
    parts = FlowMixture([FLOWS["nsf-3-context"](), FLOWS["iaf-3-lstm-context"]()])
    context = randn(2, 2)
    return [iaf(context), kinked(), parts(context)]


@pytest.mark.parametrize("what", CLOSED)
def test_what_has_no_closed_form_says_what_to_take_instead(what: str) -> None:
    ask, instead = CLOSED[what]
    for q in _distributions():
        with pytest.raises(NotImplementedError, match=instead):
            ask(q)


def test_batch_shapes_that_do_not_broadcast() -> None:
    q = FLOWS["iaf-3-gated-context"]()(randn(2, 2))
    message = r"must broadcast against the distribution's batch shape, \(2,\), got \(3,\)"
    with pytest.raises(ValueError, match="^batch_shape " + message):
        q.expand((3,))
    with pytest.raises(ValueError, match="^value's batch shape " + message):
        q.log_prob(randn(3, 3))


@pytest.mark.parametrize("name", SMALL)
def test_every_transform_makes_a_flow(name: str) -> None:
    flow = Flow(SMALL[name]()).double()
    x, log_q = flow(context_for(flow)).rsample_and_log_prob((2,), generator=generator(3))
    assert x.shape == (2, flow.features)
    assert log_q.shape == (2,)


@flows
def test_moments_are_by_monte_carlo_where_asked_for_by_name(name: str) -> None:
    flow = FLOWS[name]()
    q = flow(context_for(flow, 3))
    shape = (*q.batch_shape, flow.features)
    assert q.estimate_mean(10).shape == q.estimate_variance(10).shape == shape
    assert q.estimate_entropy(10).shape == q.batch_shape


def test_estimates_without_reparameterised_samples_have_no_gradient() -> None:
    for q in _distributions()[1:]:
        x = q.sample((20,), generator=generator(1))
        mean = q.estimate_mean(20, generator=generator(1))
        variance = q.estimate_variance(20, generator=generator(1))
        entropy = q.estimate_entropy(20, generator=generator(1))
        assert not any(each.requires_grad for each in (mean, variance, entropy))
        assert_close(mean, x.mean(0), 1e-12)
        assert_close(variance, x.var(0), 1e-12)
        assert_close(entropy, -q.log_prob(x).detach().mean(0), 1e-12)


def test_numbers_of_samples_are_checked() -> None:
    for q in _distributions():
        for estimate in (q.estimate_mean, q.estimate_variance, q.estimate_entropy):
            with pytest.raises(TypeError, match=r"samples must be an integer, got 2\.5"):
                estimate(2.5)
        with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
            q.estimate_variance(1)


@pytest.mark.parametrize("bad", [5, np.int64(5), "5", 5.0, None, [2.0]], ids=repr)
def test_what_is_not_a_sample_shape(bad: Any) -> None:
    for q in _distributions():
        with pytest.raises(TypeError, match=r"sample_shape must be a shape such as \(5,\), got"):
            q.sample(bad)
    q = _distributions()[0]
    for draw in (q.rsample, q.rsample_and_log_prob):
        with pytest.raises(TypeError, match=r"sample_shape must be a shape such as \(5,\), got"):
            draw(bad)
    with pytest.raises(ValueError, match=r"sample_shape .* at least 0, got \(-1,\)"):
        q.sample((-1,))


@pytest.mark.parametrize("shape", [(5,), [5], torch.Size([5]), np.array([5])], ids=repr)
def test_sample_shapes(shape: Any) -> None:
    for q in _distributions():
        expected = (5, *q.batch_shape, 3)
        assert q.sample(shape).shape == expected


def test_repr_says_what_it_is() -> None:
    gated, kinked, mixture = _distributions()
    said = "FlowDistribution(IAF, features=3, batch_shape=(2,), context=(2, 2))"
    assert repr(gated) == said
    assert repr(kinked) == "FlowDistribution(IAF, features=3, batch_shape=(), context=None)"
    assert repr(gated.expand((4, 2))) == said.replace("=(2,", "=(4, 2,").replace("4, 2,)", "4, 2)")
    assert repr(mixture) == f"MixtureDistribution({said.replace('IAF', 'NSF')}, {said})"


def test_estimates_are_those_of_the_samples() -> None:
    flow = FLOWS["iaf-3-gated-context"]()
    q = flow(context_for(flow, 2))
    x, log_q = q.rsample_and_log_prob((50,), generator=generator(1))
    assert_close(q.estimate_mean(50, generator=generator(1)), x.mean(0), 1e-12)
    assert_close(q.estimate_variance(50, generator=generator(1)), x.var(0), 1e-12)
    assert_close(q.estimate_entropy(50, generator=generator(1)), -log_q.mean(0), 1e-12)


@flows
def test_validation_of_values(name: str) -> None:
    flow = FLOWS[name]()
    context = context_for(flow, 3)
    x = (
        flow(context).sample((2,)).expand(2, 3, -1).clone()
        if flow.context
        else randn(2, 1).expand(2, flow.features).clone()
    )
    for bad in (float("nan"), float("inf"), float("-inf")):
        spoiled = x.clone()
        spoiled[1, ..., 0] = bad
        with pytest.raises(ValueError, match="value must be finite"):
            flow(context, validate_args=True).log_prob(spoiled)
        log_q = flow(context, validate_args=False).log_prob(spoiled)
        assert torch.isfinite(log_q[0]).all()
        assert not torch.isfinite(log_q[1]).any()


def test_in_a_transformed_distribution() -> None:
    flow = FLOWS["iaf-3-gated-context"]()
    q = flow(context_for(flow, 5))
    positive = TransformedDistribution(q, [ExpTransform()])
    assert (positive.batch_shape, positive.event_shape) == ((5,), (3,))
    y = positive.rsample((4,))
    assert (y > 0).all()
    x = y.log()
    assert_close(positive.log_prob(y), q.log_prob(x) - x.sum(-1), 1e-8)


def test_in_independent() -> None:
    flow = FLOWS["iaf-3-gated-context"]()
    q = flow(context_for(flow, 2, 5))
    joint = Independent(q, 1)
    assert (joint.batch_shape, joint.event_shape) == ((2,), (5, 3))
    x = joint.rsample((4,))
    assert_close(joint.log_prob(x), q.log_prob(x).sum(-1), 1e-12)
    assert Independent(q, 2).expand((3,)).rsample().shape == (3, 2, 5, 3)


@flows
def test_copies_are_equal_and_apart(name: str) -> None:
    flow = FLOWS[name]()
    twin = copy.deepcopy(flow)
    context = context_for(flow, 3)
    x = flow(context).sample()
    expected = flow(context).log_prob(x)
    assert torch.equal(twin(context).log_prob(x), expected)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(2)
    assert torch.equal(twin(context).log_prob(x), expected)


def test_inference_mode() -> None:
    flow = FLOWS["iaf-3-gated-context"]()
    with torch.inference_mode():
        q = flow(context_for(flow, 5))
        x, log_q = q.rsample_and_log_prob()
        assert_close(q.log_prob(x), log_q)


@pytest.mark.parametrize("validate_args", [None, False], ids=["default", "unchecked"])
def test_log_prob_under_vmap(validate_args: bool | None) -> None:
    flow = FLOWS["iaf-2"]()
    x = randn(4, 2)
    mapped = torch.func.vmap(lambda x: flow(validate_args=validate_args).log_prob(x))(x)
    assert_close(mapped, flow().log_prob(x))


# Torch's own remark while it compiles.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("kind", fast([IAF], [IAF, MAF]))
def test_compiled_density_and_samples(kind: type[Flow]) -> None:
    module = flow(kind, 3, 2, 1, (6,))()
    torch._dynamo.reset()

    def run(context: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        q = module(context)
        y, log_q = q.rsample_and_log_prob()
        return q.log_prob(x), q.log_prob(y), log_q

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    context, x = context_for(module, 5), randn(5, module.features)
    log_p, again, log_q = compiled(context, x)
    assert_close(log_p, run(context, x)[0])
    assert_close(again, log_q, 1e-8)
    parameters = list(module.parameters())
    assert_close(
        torch.autograd.grad(log_p.sum(), parameters),
        torch.autograd.grad(run(context, x)[0].sum(), parameters),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_have_the_flows_dtype(dtype: torch.dtype) -> None:
    module = flow(IAF, 3, 0, 2, (8,))().to(dtype)
    x, log_q = module().rsample_and_log_prob((5,))
    assert x.dtype == log_q.dtype == module().log_prob(x).dtype == dtype
    torch.testing.assert_close(module().log_prob(x), log_q, rtol=1e-4, atol=1e-4)


def test_autocast() -> None:
    module = FLOWS["iaf-3-gated-context"]().float()
    context = context_for(module, 5).float()
    x = module(context).sample()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, log_q = module(context).rsample_and_log_prob()
        log_p = module(context).log_prob(x)
    assert y.dtype == log_q.dtype == log_p.dtype == torch.float32
    torch.testing.assert_close(log_p, module(context).log_prob(x), rtol=0.05, atol=0.2)
    (log_p.sum() + log_q.sum()).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
