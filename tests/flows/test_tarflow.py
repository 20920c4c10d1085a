from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

from invflow import Flow
from invflow.conditioners import LSTM, MADE, Attention, Guided, patch_order
from invflow.flows import TarFlow, TarIAF, denoised
from invflow.transforms import Autoregressive
from tests.conditioners.causality import assert_strictly_causal
from tests.helpers import assert_close, context_for, flow, perturbed, randn

#: Flows over patches, with the number of patches.
PATCHES: dict[str, tuple[Callable[[], Flow], int]] = {
    "one-pixel": (flow(TarFlow, (1, 1, 1), 1, 0, 2, (8,)), 1),
    "one-patch": (flow(TarFlow, (2, 3, 3), 3, 0, 1, (8,)), 1),
    "channels": (flow(TarFlow, (3, 2, 4), 2, 0, 3, (8, 8), heads=2), 2),
    "context": (flow(TarFlow, (1, 3, 2), 1, 2, 2, (8,), univariate="spline"), 6),
    "classes": (flow(TarFlow, (2, 2, 2), 1, 0, 2, (8,), classes=3), 4),
    "posterior": (flow(TarIAF, (2, 4, 4), 2, 2, 2, (8,), grid=(2, 2)), 4),
    "same": (flow(TarIAF, (1, 4, 2), 2, 0, 2, (8,), order="same"), 2),
}
patches = pytest.mark.parametrize("name", PATCHES)


def _parts(whole: Flow) -> list[Autoregressive]:
    return [part for part in whole.modules() if isinstance(part, Autoregressive)]


def test_patches_are_taken_row_by_row_and_channel_by_channel() -> None:
    image = torch.arange(2 * 4 * 6).reshape(2, 4, 6)
    taken = image.flatten()[patch_order((2, 4, 6), 2)].reshape(6, 2, 2, 2)
    for i, patch in enumerate(taken):
        row, column = divmod(i, 3)
        assert torch.equal(patch, image[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2])
    with pytest.raises(ValueError, match=r"patch must divide .* images of 4 x 6, got 4"):
        patch_order((2, 4, 6), 4)


@patches
def test_both_directions_are_inverse_with_the_log_det_of_autodiff(name: str) -> None:
    whole = PATCHES[name][0]()
    z, context = randn(whole.features), context_for(whole)
    x, ladj = whole.transform(z, context)
    assert_close(whole.transform.inverse(x, context), (z, -ladj), 1e-9)
    jacobian = torch.func.jacrev(lambda x: whole.transform.inverse(x, context)[0])(x)
    assert_close(-ladj, torch.linalg.slogdet(jacobian)[1], 1e-9)


@patches
def test_a_patch_reaches_its_own_and_later_ones(name: str) -> None:
    """Block by block, in the order of each transform, which alternates."""
    build, count = PATCHES[name]
    whole = build()
    for part in _parts(whole):
        conditioner = part.conditioner
        assert len(conditioner.groups) == count
        assert conditioner.groups == (whole.features // count,) * count
        z, context = randn(whole.features), context_for(whole)
        by_z = torch.func.jacrev(lambda z: conditioner(z, context))(z)  # noqa: B023
        assert_strictly_causal(by_z, conditioner.groups)


@pytest.mark.parametrize("kind", [TarFlow, TarIAF])
def test_the_order_of_patches_alternates(kind: type[Flow]) -> None:
    """With one transform the first patch depends on nothing; with two, all depend on all."""
    features = patch_order((2, 2, 4), 2)

    def jacobian(transforms: int) -> Tensor:
        """In the order of the patches; noise is in that order, images are not."""
        transform = flow(kind, (2, 2, 4), 2, 0, transforms, (8,))().transform
        if kind is TarFlow:
            found = torch.func.jacrev(lambda x: transform.inverse(x)[0])(randn(16))
            return found[:, features]
        return torch.func.jacrev(lambda z: transform(z)[0])(randn(16))[features]

    blocks = jacobian(1).reshape(2, 8, 2, 8)
    assert (blocks[0, :, 1] == 0).all()
    assert (blocks[1, :, 0] != 0).all()
    assert (jacobian(2).reshape(2, 8, 2, 8)[0, :, 1] != 0).all()


def test_labels_become_contexts() -> None:
    whole = TarFlow((1, 2, 2), transforms=1, hidden_features=(8,), classes=3)
    labels = torch.tensor([[0, 2], [-1, 1]], dtype=torch.uint8).to(torch.int32)
    labels[1, 0] = -1
    expected = torch.eye(3)[[0, 2, 0, 1]].reshape(2, 2, 3)
    expected[1, 0] = 1 / 3
    assert_close(whole.labelled(labels), expected)
    for bad, error, message in (
        (torch.tensor([3]), ValueError, r"labels must lie in -1 .. 2, got 3 to 3"),
        (torch.tensor([0.0]), TypeError, "labels must be a tensor of integers"),
        (torch.tensor([True]), TypeError, "labels must be a tensor of integers"),
    ):
        with pytest.raises(error, match=message):
            whole.labelled(bad)


def _guided(weight: float) -> tuple[TarFlow, Flow, Tensor]:
    whole = flow(TarFlow, (2, 2, 4), 2, 0, 3, (8, 8), classes=3)()
    assert isinstance(whole, TarFlow)
    return whole, whole.guided(weight), whole.labelled(torch.tensor([0, 2, 1, -1, 0]))


def test_guidance_of_none_changes_nothing() -> None:
    whole, guided, context = _guided(0.0)
    x = randn(5, 16)
    assert_close(guided(context).log_prob(x), whole(context).log_prob(x), 1e-12)


def test_guidance_moves_parameters_away_from_those_of_no_class() -> None:
    whole, guided, context = _guided(1.5)
    neutral = torch.full((3,), 1 / 3, dtype=torch.float64)
    z = randn(5, 16)
    for part, own in zip(_parts(guided), _parts(whole), strict=True):
        given, without = own.conditioner(z, context), own.conditioner(z, neutral)
        assert_close(part.conditioner(z, context), 2.5 * given - 1.5 * without, 1e-12)
    x, ladj = guided.transform(randn(5, 16), context)
    assert_close(guided.transform.inverse(x, context), (randn(5, 16), -ladj), 1e-9)
    # Where no class is known, there is nothing to be moved away from.
    assert_close(x[3], whole.transform(randn(5, 16), context)[0][3], 1e-9)


@pytest.mark.parametrize("conditioner", ["attention", "made", "made-norm"])
@pytest.mark.parametrize("batch", [(), (3,), (2, 0)])
def test_gradient_of_guided_sampling_is_that_of_the_passes(
    conditioner: str, batch: tuple[int, ...]
) -> None:
    build: dict[str, Callable[[], Attention | MADE]] = {
        "attention": lambda: Attention(5, (0.0, 0.0), (8, 8), 2, group=2),
        "made": lambda: MADE(5, (0.0, 0.0), (8, 8), 2, group=2),
        "made-norm": lambda: MADE(5, (0.0, 0.0), (8, 8), 2, norm=True),
    }
    guided = Guided(perturbed(build[conditioner]()), randn(2, seed=5), 0.8)
    x = randn(*batch, 5).requires_grad_()
    context = randn(*batch, 2, seed=1).requires_grad_()
    results: list[tuple[Tensor, ...]] = []
    for inverse in ("cached", "passes", "fixed_point"):
        transform = Autoregressive(guided, inverse=inverse)
        z, ladj = transform.inverse(x, context)
        bars = randn(*batch, 5, seed=2), randn(*batch, seed=3)
        inputs = [x, context, *guided.parameters()]
        results.append((z, ladj, *torch.autograd.grad((z, ladj), inputs, bars)))
    assert_close(results[0], results[1], 1e-9)
    assert_close(results[2], results[1], 1e-8)


def test_guided_sweeps_under_torch_func() -> None:
    guided = Guided(perturbed(Attention(4, (0.0, 0.0), (8,), 2, group=2)), randn(2, seed=5), 0.8)
    transform, x, context = Autoregressive(guided), randn(3, 4), randn(3, 2, seed=1)

    def total(x: Tensor, context: Tensor) -> Tensor:
        z, ladj = transform.inverse(x, context)
        return z.sin().sum() + ladj.sum()

    mapped = torch.func.vmap(torch.func.grad(total, (0, 1)))(x, context)
    assert_close(mapped, torch.func.grad(total, (0, 1))(x, context), 1e-12)


class Doubled(MADE):
    """Computes something else than its parent's sweep."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return 2 * super().forward(z, context)


def test_guidance_of_a_conditioner_that_is_overridden_is_refused() -> None:
    made = Doubled(3, (0.0, 0.0), (6,), 2)
    with pytest.raises(TypeError, match="must compute what MADE does, got Doubled, which has a fo"):
        Guided(made, torch.zeros(2), 1.0)


def test_guidance_calls_the_hooks_of_its_conditioner() -> None:
    made = perturbed(MADE(3, (0.0, 0.0), (6,), 2))
    made.register_forward_hook(lambda module, given, params: 0.5 * params)
    transform = Autoregressive(Guided(made, randn(2, seed=5), 0.8))
    z, context = randn(4, 3), randn(4, 2, seed=1)
    x, ladj = transform(z, context)
    assert_close(transform.inverse(x, context), (z, -ladj), 1e-9)


def test_guidance_needs_classes_and_a_reverse_sweep() -> None:
    whole = TarFlow((1, 2, 2), transforms=1, hidden_features=(8,))
    with pytest.raises(ValueError, match="guidance needs a flow with classes, got classes=0"):
        whole.guided(1.0)
    with pytest.raises(ValueError, match="labels need a flow with classes, got classes=0"):
        whole.labelled(torch.tensor([0]))
    with pytest.raises(ValueError, match="context must be 0 with classes, got 2"):
        TarFlow((1, 2, 2), context=2, classes=2)
    with pytest.raises(TypeError, match=r"conditioner must have a reverse sweep.* got LSTM"):
        Guided(LSTM(2, (0.0,), (4,), 1), torch.zeros(1), 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="conditioner must have a context, got context=0"):
        Guided(MADE(2, (0.0,)), torch.zeros(1), 1.0)
    with pytest.raises(ValueError, match=r"neutral must have shape \(2,\), got \(3,\)"):
        Guided(MADE(2, (0.0,), context=2), torch.zeros(3), 1.0)
    with pytest.raises(TypeError, match=r"neutral must be a torch\.Tensor, got list"):
        Guided(MADE(2, (0.0,), context=2), [0.0, 0.0], 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight must be finite, got nan"):
        Guided(MADE(2, (0.0,), context=2), torch.zeros(2), float("nan"))
    for name in ("conditioner", "group"):
        with pytest.raises(TypeError, match=f"{name} is decided by shape and patch in a TarFlow"):
            TarFlow((1, 2, 2), **{name: 2})
    with pytest.raises(TypeError, match="a guided conditioner has no name"):
        Guided.plan_from("")


@patches
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    whole = PATCHES[name][0]()
    whole.save_pretrained(tmp_path)
    again = type(whole).from_pretrained(tmp_path)
    x, context = randn(3, whole.features), context_for(whole, 3)
    assert torch.equal(again(context).log_prob(x), whole(context).log_prob(x))
    assert again.config == whole.config


def test_denoised_is_the_mean_of_clean_given_noisy() -> None:
    """In closed form: for a normal density of what is clean."""
    root = randn(3, 3)
    clean = MultivariateNormal(randn(3, seed=1), root @ root.T)
    sigma, x = 0.7, randn(5, 3, seed=2)
    noise = sigma**2 * torch.eye(3, dtype=torch.float64)
    noisy = MultivariateNormal(clean.mean, clean.covariance_matrix + noise)
    gain = clean.covariance_matrix @ torch.linalg.inv(noisy.covariance_matrix)
    expected = clean.mean + (x - clean.mean) @ gain.T
    with torch.no_grad():
        found = denoised(noisy, x, sigma)
    assert_close(found, expected, 1e-10)
    assert not found.requires_grad
    with torch.inference_mode():
        made = randn(5, 3, seed=2)
        with pytest.raises(RuntimeError, match=r"use torch\.no_grad"):
            denoised(noisy, made, sigma)
    assert_close(denoised(noisy, made, sigma), expected, 1e-10)
    with pytest.raises(TypeError, match="x must be a tensor of floating-point numbers, got torch"):
        denoised(noisy, torch.zeros(3, dtype=torch.long), sigma)
    with pytest.raises(ValueError, match="deviation must be positive"):
        denoised(Independent(Normal(torch.zeros(2), 1.0), 1), torch.zeros(2), 0.0)


def test_denoised_takes_the_gradient_of_a_flow() -> None:
    whole, x = PATCHES["channels"][0](), randn(2, 24)
    step, sigma = 1e-6, 0.3
    found = denoised(whole(), x, sigma)
    direction = randn(2, 24, seed=3)
    slope = (whole().log_prob(x + step * direction) - whole().log_prob(x - step * direction)) / (
        2 * step
    )
    assert_close(((found - x) * direction).sum(-1), sigma**2 * slope.detach(), 1e-6)
