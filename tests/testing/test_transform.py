"""The library's transforms pass, see `tests/transforms/test_contract.py`; broken ones do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import constraints

import invflow
from invflow.testing import check_transform
from invflow.transforms import ActNorm, BatchNorm, Sigmoid, Transform
from tests.helpers import randn


class Scale(Transform):
    """x = e^s z + C c, which is right; the others lack one property each."""

    def __init__(self, features: int = 3, context: int = 0) -> None:
        super().__init__(features, context)
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.weight = nn.Parameter(torch.zeros(features, context))

    def shift(self, context: Tensor | None) -> Tensor | float:
        return 0.0 if context is None else context @ self.weight.T

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.log_scale.exp() * z + self.shift(context)
        return x, self.log_scale.sum().expand(z.shape[:-1])

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z = (x - self.shift(context)) * torch.exp(-self.log_scale)
        return z, -self.log_scale.sum().expand(x.shape[:-1])


@pytest.mark.parametrize(
    "transform",
    [
        Scale(),
        Scale(1),
        Scale(2, context=2),
        ActNorm(2),
        BatchNorm(2),
        invflow.RealNVP(3, 2).transform,
        invflow.NSF(3, univariate={"name": "circular", "low": 0.0, "high": 24.0}).transform,
        invflow.MAF(4, conditioner="lstm", hidden_features=(6,)).transform.inv,
    ],
    ids=lambda each: type(each).__name__,
)
def test_transforms_pass_as_they_are_built(transform: Transform) -> None:
    check_transform(transform)


class LadjPerFeature(Scale):
    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, _ = super()._forward(z, context)
        return x, self.log_scale.expand_as(z)


class Unbatched(Scale):
    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, _ = super()._inverse(x, context)
        return z, -self.log_scale.sum()


class WrongInverse(Scale):
    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, ladj = super()._inverse(x, context)
        return z + torch.eye(self.features)[-1].to(z) / 8, ladj


class OtherSign(Scale):
    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, ladj = super()._inverse(x, context)
        return z, -ladj


class WrongLadj(Scale):
    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, ladj = super()._forward(z, context)
        return x, 2 * ladj

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, ladj = super()._inverse(x, context)
        return z, 2 * ladj


class OverBatch(Scale):
    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, ladj = super()._forward(z, context)
        return (x + x.mean() if x.ndim > 2 else x), ladj


class Detached(Scale):
    """Its inverse gives no gradient to the weights."""

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        scale = self.log_scale.detach()
        return x * torch.exp(-scale), -scale.sum().expand(x.shape[:-1])


class NoContext(Scale):
    def shift(self, context: Tensor | None) -> float:
        return 0.0


class Permissive(Scale):
    """Ignores a context that was not declared."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._forward(z, None)


class WrongCodomain(Scale):
    @property
    def codomain(self) -> Any:
        return constraints.independent(constraints.positive, 1)


class WrongDomain(Sigmoid):
    @property
    def domain(self) -> Any:
        return constraints.independent(constraints.positive, 1)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (LadjPerFeature(), r"ladj of forward must have shape \(\), got \(3,\)"),
        (Unbatched(), r"ladj of inverse must have shape \(5,\), got \(\)"),
        (WrongInverse(), r"inverse\(forward\(z\)\) differs from z by 0.12 at feature 2"),
        (WrongInverse(1), "differs from z by 0.12 at feature 0, with tolerance .*: the two dir"),
        (OtherSign(), "ladj of inverse differs from minus ladj of forward by"),
        (WrongLadj(), "ladj of forward differs from the log-determinant of the derivative"),
        (OverBatch(), "the value of forward for one batch element alone differs"),
        (Detached(), "the derivative of inverse with respect to its weights along a random"),
        (NoContext(context=2), "forward does not read entry 0 of the context"),
        (Permissive(), "forward accepts a context although none was declared"),
        (WrongCodomain(), "forward gives values outside of `codomain`"),
        (WrongDomain(3), "inverse gives values outside of `domain`"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Transform) else "",
)  # fmt: skip
def test_a_broken_transform_is_refused(broken: Transform, message: str) -> None:
    with pytest.raises(AssertionError, match=f"^{type(broken).__name__}.*{message}"):
        check_transform(broken)


def test_the_transform_is_not_changed() -> None:
    transform = BatchNorm(3)
    transform.inverse(randn(20, 3).float())
    before = {key: each.clone() for key, each in transform.state_dict().items()}
    state = torch.get_rng_state()
    check_transform(transform)
    assert torch.equal(torch.get_rng_state(), state)
    assert transform.training
    assert all(torch.equal(each, before[key]) for key, each in transform.state_dict().items())


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="transform must be a Transform, got IAF"):
        check_transform(invflow.IAF(2))  # pyright: ignore[reportArgumentType]
