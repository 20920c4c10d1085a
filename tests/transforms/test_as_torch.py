"""Transforms in the places of torch's and Zuko's."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest
import torch
from torch import Size, Tensor
from torch.distributions import (
    AffineTransform,
    ComposeTransform,
    Independent,
    Normal,
    TransformedDistribution,
    constraints,
)
from torch.distributions.constraints import independent

from invflow import IAF
from invflow.transforms import (
    AsTorch,
    Autoregressive,
    Elementwise,
    Inverse,
    Sigmoid,
)
from tests.helpers import (
    AUTOREGRESSIVE,
    FLOWS,
    SMALL,
    TRANSFORMS,
    assert_close,
    context_for,
    over,
    perturbed,
    randn,
    values,
)

transforms = pytest.mark.parametrize("name", SMALL)


def _normal(*batch: int, features: int) -> Independent:
    zeros = torch.zeros(*batch, features, dtype=torch.float64)
    return Independent(Normal(zeros, torch.ones_like(zeros)), 1)


class _Counted(Elementwise):
    """A transform that counts its calls."""

    calls = 0

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return super()._forward(z, context)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return super()._inverse(x, context)


def _counted() -> _Counted:
    return perturbed(_Counted(3))


@transforms
def test_zukos_names(name: str) -> None:
    transform = SMALL[name]()
    z, context = values(transform, "forward", 4), context_for(transform, 4)
    x, ladj = transform(z, context)
    assert_close(transform.call_and_ladj(z, context), (x, ladj), 0)
    assert_close(transform.inv.call_and_ladj(x, context), transform.inverse(x, context), 0)
    assert_close(transform.inv.inverse(z, context), (x, ladj), 0)
    backwards = transform.inv
    assert str(backwards.domain) == str(transform.codomain)
    assert str(backwards.codomain) == str(transform.domain)


def test_the_inverse_of_the_inverse_is_the_transform_itself() -> None:
    transform = Sigmoid(3)
    assert isinstance(transform.inv, Inverse)
    assert transform.inv.inv is transform
    assert Inverse(transform).inv is transform


@transforms
def test_is_torchs_transform(name: str) -> None:
    transform = SMALL[name]()
    context = context_for(transform, 4)
    view = transform.as_torch(context)
    z = values(transform, "forward", 2, 4)
    expected, expected_ladj = transform(z, context)
    x = view(z)
    assert_close((x, view.log_abs_det_jacobian(z, x)), (expected, expected_ladj), 0)
    # With other tensors of the same values, and twice with the same ones.
    for pair in ((z.clone(), x.clone()), (z, x)):
        assert_close(view.log_abs_det_jacobian(*pair), expected_ladj, 1e-12)
    back = view.inv(x)
    assert_close(back, transform.inverse(x, context)[0], 0)
    assert_close(back, z, 1e-7)
    assert_close(view.inv.log_abs_det_jacobian(x, back), -expected_ladj, 1e-7)
    assert view.inv.inv is view
    assert view.bijective
    assert view.event_dim == view.domain.event_dim == view.codomain.event_dim == 1
    assert view.domain.check(z).all()
    assert view.codomain.check(x).all()
    assert view.forward_shape(z.shape) == view.inverse_shape(x.shape) == z.shape


@transforms
def test_log_determinant_is_that_of_autograd(name: str) -> None:
    transform = SMALL[name]()
    for part in transform.modules():
        if isinstance(part, Autoregressive):
            part.inverse_method = "passes"
    view = transform.as_torch(context_for(transform))
    z = values(transform, "forward")
    jacobian = torch.func.jacrev(view)(z)
    assert_close(view.log_abs_det_jacobian(z, view(z)), torch.linalg.slogdet(jacobian)[1], 1e-7)


def test_domains() -> None:
    sigmoid = Sigmoid(3, -1.0, 2.0).as_torch()
    assert sigmoid.domain is constraints.real_vector
    assert isinstance(sigmoid.codomain, independent)
    assert sigmoid.inv.domain is not constraints.real_vector
    x = torch.tensor([[0.0, 1.0, 3.0], [0.0, 1.0, 1.5]])
    assert sigmoid.codomain.check(x).tolist() == [False, True]


@pytest.mark.parametrize("name", ["iaf-2", "iaf-3-gated-context", "nsf-3-context", "maf-2-context"])
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)], ids=str)
def test_transformed_distribution_is_the_flow(name: str, batch: tuple[int, ...]) -> None:
    flow = FLOWS[name]()
    context = context_for(flow, *batch)
    q = flow(context)
    view = flow.transform.as_torch(context)
    for base in (
        _normal(features=flow.features),
        _normal(*q.batch_shape, features=flow.features),
        Normal(*torch.tensor([0.0, 1.0], dtype=torch.float64)).expand([flow.features]),
    ):
        p = TransformedDistribution(base, [view])
        assert (p.batch_shape, p.event_shape) == (q.batch_shape, q.event_shape)
        x = p.rsample(Size([5]))
        assert x.shape == (5, *q.batch_shape, flow.features)
        assert x.requires_grad
        log_prob = p.log_prob(x.detach())
        assert_close(log_prob, q.log_prob(x.detach()), 1e-10)
        tensors = list(flow.parameters())
        found = torch.autograd.grad(log_prob.sum(), tensors, allow_unused=True)
        expected = torch.autograd.grad(q.log_prob(x.detach()).sum(), tensors, allow_unused=True)
        assert_close(found, expected, 1e-8)
    wide = p.expand(Size([6, *q.batch_shape]))
    assert wide.log_prob(wide.sample()).shape == (6, *q.batch_shape)


def test_in_a_row_with_torchs_own() -> None:
    first, last = perturbed(Elementwise(3)), Sigmoid(3).double()
    scale = AffineTransform(torch.ones(3).double(), 2 * torch.ones(3).double(), event_dim=1)
    row = ComposeTransform([first.as_torch(), scale, last.as_torch()])
    z = randn(5, 3)
    y, ladj = first(z)
    x, more = last(1 + 2 * y)
    assert_close(row(z), x, 1e-12)
    expected = ladj + more + 3 * torch.tensor(2.0).double().log()
    assert_close(row.log_abs_det_jacobian(z, x), expected, 1e-12)
    p = TransformedDistribution(_normal(features=3), row)
    assert p.support.check(p.sample()).all()
    assert_close(p.log_prob(x), _normal(features=3).log_prob(z) - expected, 1e-9)
    assert row.with_cache().inv(x).shape == z.shape


def test_batches_broadcast() -> None:
    transform = TRANSFORMS["elementwise-8-context"]()
    context = context_for(transform, 4, 1)
    view = transform.as_torch(context)
    assert view.forward_shape(Size([8])) == (4, 1, 8)
    assert view.inverse_shape(Size([3, 8])) == (4, 3, 8)
    z = randn(3, 8)
    x = view(z)
    assert_close(x, transform(z.expand(4, 3, 8), context)[0], 0)
    assert view.log_abs_det_jacobian(z, x).shape == (4, 3)
    assert view.log_abs_det_jacobian(z, x).shape == (4, 3)
    for bad in (Size([7]), Size([]), Size([3, 2, 8])):
        with pytest.raises(ValueError, match=r"shape must be \(\*batch, 8\).*\(4, 1\), got"):
            view.forward_shape(bad)


@pytest.mark.parametrize(
    ("context", "error", "message"),
    [
        (None, ValueError, r"context of shape \(\*batch, 3\) is required"),
        (torch.zeros(5, 2), ValueError, "context must have shape"),
        ([0.0] * 3, TypeError, "context must be a torch.Tensor"),
    ],
    ids=["missing", "size", "type"],
)
def test_contexts_are_checked(context: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Elementwise(3, context=3).as_torch(context)
    with pytest.raises(ValueError, match="context must be None"):
        Elementwise(3).as_torch(torch.zeros(3))


def test_what_is_not_a_transform_or_a_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="transform must be a Transform, got str"):
        AsTorch("affine")  # type: ignore[arg-type]
    for view in (Elementwise(2).as_torch(), Elementwise(2, context=1).as_torch(torch.zeros(5, 1))):
        with pytest.raises(TypeError, match=r"z must be a torch\.Tensor, got list"):
            view([0.0, 1.0])


def test_a_value_and_its_log_determinant_are_one_call() -> None:
    transform = _counted()
    view = transform.as_torch()
    z = randn(5, 3)
    x = view(z)
    view.log_abs_det_jacobian(z, x)
    assert transform.calls == 1
    view.log_abs_det_jacobian(z, x)  # which has been given away
    assert transform.calls == 2
    p = TransformedDistribution(_normal(features=3), [view])
    p.log_prob(x)
    assert transform.calls == 3
    p.rsample()
    assert transform.calls == 4


def test_what_was_changed_since_is_computed() -> None:
    transform = _counted()
    view = transform.as_torch()
    z = randn(5, 3)
    x = view(z)
    z.add_(1)
    with torch.no_grad():
        expected = transform(z)[1]
    assert_close(view.log_abs_det_jacobian(z, x), expected, 0)
    with torch.inference_mode():
        y = view(z)
        assert_close(view.log_abs_det_jacobian(z, y), expected, 0)


def test_parameters_and_contexts_that_were_changed_since_are_seen() -> None:
    transform = perturbed(Elementwise(3, context=2))
    context = randn(5, 2)
    view = transform.as_torch(context)
    z = randn(5, 3)
    for change in (context, next(transform.parameters())):
        x = view(z)
        before = transform(z, context)[1]
        with torch.no_grad():
            change.add_(0.5)
        found = view.log_abs_det_jacobian(z, x)
        assert_close(found, transform(z, context)[1], 0)
        assert not torch.equal(found, before)
    lent = {f"transform.{name}": value + 1 for name, value in transform.named_parameters()}
    x = view(z)
    asked = torch.func.functional_call(_Asked(transform, view), lent, (z, x))
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.add_(1)
    assert_close(asked, transform(z, context)[1], 1e-12)


class _Asked(torch.nn.Module):
    """A module that asks a view of its transform for a log-determinant."""

    def __init__(self, transform: Elementwise, view: AsTorch) -> None:
        super().__init__()
        self.transform = transform
        self.view = view

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.view.log_abs_det_jacobian(z, x)


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("size", [0, 1])
def test_a_gradient_is_not_lost_where_none_was_recorded(size: int, without: Any) -> None:
    transform = perturbed(Elementwise(3))
    view = transform.as_torch().with_cache(size)
    z = randn(5, 3)
    with without():
        x = view(z)
    ladj = view.log_abs_det_jacobian(z, x)
    tensors = list(transform.parameters())
    found = torch.autograd.grad(ladj.sum(), tensors, allow_unused=True)
    expected = torch.autograd.grad(transform(z)[1].sum(), tensors, allow_unused=True)
    assert_close(found, expected, 0)


def test_torchs_cache() -> None:
    transform = _counted()
    plain = transform.as_torch()
    view = plain.with_cache()
    assert view.with_cache() is view
    assert plain.with_cache(0) is plain
    assert view == plain
    z = randn(5, 3)
    x = view(z)
    assert view(z) is x
    assert view.inv(x) is z
    assert_close(view.log_abs_det_jacobian(z, x), view.log_abs_det_jacobian(z, x), 0)
    assert transform.calls == 1


@pytest.mark.parametrize("kept", ["nothing", "view"])
def test_memory_is_given_back(kept: str) -> None:
    """When a sample is gone, by which something was held, or the view."""
    flow = FLOWS["iaf-3-gated-context"]()
    context = context_for(flow)
    assert context is not None
    context.requires_grad_()
    gc.disable()
    try:
        view = flow.transform.as_torch(context)
        z = randn(4, 3)
        x = view(z)
        ladj = weakref.ref(view._last._kept[0][0])
        assert ladj() is not None
        del x
        if kept == "nothing":
            del view
        assert ladj() is None
    finally:
        gc.enable()


def test_equality() -> None:
    transform, context = Elementwise(3, context=2), torch.zeros(5, 2)
    view = transform.as_torch(context)
    assert view == transform.as_torch(context)
    assert hash(view) == hash(transform.as_torch(context))
    assert view != transform.as_torch(context.clone())
    assert view != Elementwise(3, context=2).as_torch(context)
    assert view != AffineTransform(0.0, 1.0)
    assert repr(view) == "AsTorch(Elementwise, features=3, context=(5, 2))"


@pytest.mark.parametrize("size", [0, 1])
def test_copies(size: int) -> None:
    view = _counted().as_torch().with_cache(size)
    z = randn(5, 3)
    x = view(z)
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert isinstance(other, AsTorch)
        assert_close(other(z), x, 0)
        assert other.inv.inv is other


def test_vmap_and_grad() -> None:
    view = AUTOREGRESSIVE[over("made-3-no-hidden")]().as_torch()
    p = TransformedDistribution(_normal(features=3), [view], validate_args=False)
    x = randn(4, 3)
    whole = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(p.log_prob(whole).sum(), whole)
    assert_close(torch.func.vmap(torch.func.grad(p.log_prob))(x), expected, 1e-10)


def test_in_pyro() -> None:
    pyro = pytest.importorskip("pyro")
    flow = FLOWS["iaf-2"]()
    base = pyro.distributions.Normal(torch.zeros(2).double(), 1.0).to_event(1)

    def model() -> Tensor:
        p = pyro.distributions.TransformedDistribution(base, [flow.transform.as_torch()])
        with pyro.plate("batch", 5):
            return pyro.sample("x", p)

    trace = pyro.poutine.trace(model).get_trace()
    trace.compute_log_prob()
    site = trace.nodes["x"]
    assert site["value"].shape == (5, 2)
    assert_close(site["log_prob"], flow().log_prob(site["value"]), 1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_compiles() -> None:
    flow = IAF(3, inverse="cached")
    p = TransformedDistribution(
        Independent(Normal(torch.zeros(3), torch.ones(3)), 1),
        [flow.transform.as_torch()],
        validate_args=False,
    )
    x = randn(5, 3).float()
    compiled = torch.compile(p.log_prob, backend="eager")
    torch.testing.assert_close(compiled(x), p.log_prob(x))
