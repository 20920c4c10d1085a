"""Mixed precision on a CPU."""

from __future__ import annotations

import pytest
import torch

from invflow import IAF
from tests.helpers import (
    DIRECTIONS,
    INVERSES,
    SMALL,
    context_for,
    directed,
    generator,
    gradients,
    perturbed,
    randn,
    step,
    values,
)

BF16 = {"rtol": 0.05, "atol": 0.05}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_agrees_and_keeps_the_dtype(name: str, direction: str, dtype: torch.dtype) -> None:
    transform = SMALL[name]().float()
    run = directed(transform, direction)
    # Points of which none lies at a knot of a spline, where the gradient jumps.
    value = values(transform, direction, 5, seed=2).to(dtype)
    context = context_for(transform, 5)
    context = None if context is None else context.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = run(value.requires_grad_(), context)
    assert result[0].dtype == result[1].dtype == dtype
    full = value.detach().float().requires_grad_()
    expected = run(full, None if context is None else context.float())
    torch.testing.assert_close(result, tuple(e.to(dtype) for e in expected), **BF16)
    parameters = list(transform.parameters())
    for actual, wanted in zip(
        gradients(*result, [value, *parameters]),
        gradients(*expected, [full, *parameters]),
        strict=True,
    ):
        error = (actual.float() - wanted).norm()
        assert error <= 0.06 * wanted.norm() + 0.02


@pytest.mark.parametrize(
    ("name", "univariate", "inverse"),
    [
        *(("made-3-context", "gated", inverse) for inverse in INVERSES),
        *(("lstm-3-two-layers-context", "tight", inverse) for inverse in INVERSES[1:]),
        *(("attention-3-two-blocks-context", "affine", inverse) for inverse in INVERSES[1:]),
    ],
)
def test_every_inverse_runs_under_autocast(name: str, univariate: str, inverse: str) -> None:
    transform = step(name, univariate, "random")(inverse).float()
    context = context_for(transform, 5).float()
    z = randn(5, 3, dtype=torch.float32)
    x, ladj = transform(z, context)
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        back, back_ladj = transform.inverse(x, context)
    assert back.dtype == back_ladj.dtype == torch.float32
    torch.testing.assert_close((back, back_ladj), (z, -ladj), **BF16)
    found = gradients(back, back_ladj, [x, *transform.parameters()])
    assert all(torch.isfinite(gradient).all() for gradient in found)
    assert all(gradient.any() for gradient in found)


@pytest.mark.parametrize("inverse", INVERSES)
def test_gradients_may_be_taken_after_autocast_has_ended(inverse: str) -> None:
    """As torch advises; here with a context that autocast has made half as precise."""
    found = []
    for outside in (False, True):
        flow = IAF(5, 4, 2, (16,), inverse=inverse, generator=generator(1))
        encoder = torch.nn.Linear(3, 4)
        with torch.no_grad():
            encoder.weight.copy_(randn(4, 3).float())
            encoder.bias.zero_()
        x, inputs = randn(6, 5, seed=2).float(), randn(6, 3, seed=3).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = -flow(encoder(inputs)).log_prob(x).mean()
            if not outside:
                loss.backward()
        if outside:
            loss.backward()
        found.append([parameter.grad for parameter in [*flow.parameters(), *encoder.parameters()]])
    torch.testing.assert_close(found[1], found[0], rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("conditioner", ["made", "attention", "lstm"])
def test_autocast_does_not_lower_the_precision_of_a_sweeps_gradient(conditioner: str) -> None:
    flow = IAF(5, 0, 1, (16,), conditioner=conditioner, inverse="cached", generator=generator(1))
    flow, x = perturbed(flow).float(), randn(6, 5, seed=2).float()
    loss = -flow().log_prob(x).mean()
    wanted = torch.autograd.grad(loss, list(flow.parameters()), retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch.autograd.grad(loss, list(flow.parameters()))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
