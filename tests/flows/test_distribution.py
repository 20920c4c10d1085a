"""A flow at a context is a torch distribution."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.distributions import (
    ExpTransform,
    Independent,
    TransformedDistribution,
    constraints,
)

from invflow import IAF, MAF, Flow
from tests.helpers import BATCHES, FLOWS, assert_close, context_for, flow, generator, randn

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


@flows
def test_moments_are_by_monte_carlo_where_asked_for_by_name(name: str) -> None:
    flow = FLOWS[name]()
    q = flow(context_for(flow, 3))
    for unknown in ("mean", "variance", "stddev"):
        with pytest.raises(NotImplementedError):
            getattr(q, unknown)
    with pytest.raises(NotImplementedError):
        q.entropy()
    shape = (*q.batch_shape, flow.features)
    assert q.estimate_mean(10).shape == q.estimate_variance(10).shape == shape
    assert q.estimate_entropy(10).shape == q.batch_shape


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
@pytest.mark.parametrize("kind", [IAF, MAF])
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
