"""The registered maps pass; maps that lack a property are refused, and it is named."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from invflow.testing import check_univariate
from invflow.univariate import UNIVARIATES, Affine, Univariate
from tests.helpers import SinhArcsinh


@pytest.mark.parametrize(
    "map", [*(kind() for kind in UNIVARIATES.values()), SinhArcsinh()], ids=repr
)
def test_the_librarys_own_maps_pass(map: Univariate) -> None:
    check_univariate(map)


@dataclasses.dataclass(frozen=True)
class Scaled(Univariate):
    """x = m + e^s z, which is right; the others lack one property each."""

    @property
    def start(self) -> tuple[float, ...]:
        return (0.0, 0.1)

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = params.unbind(-1)
        return shift + log_scale.exp() * z, log_scale.expand_as(z)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = params.unbind(-1)
        return (x - shift) * torch.exp(-log_scale), -log_scale.expand_as(x)


class InfiniteStart(Scaled):
    start = (0.0, float("inf"))


class Miscounted(Scaled):
    parameters = 3


class LogOfZero(Scaled):
    """Not finite at the start, where log_scale - start is 0."""

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = super().forward(z, params)
        return x, ladj + (params[..., 1] - 0.1).square().log() * 0


class OneLadj(Scaled):
    """Sums ladj over the batch, as if it were over the event."""

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = super().forward(z, params)
        return x, ladj.sum()


class NoLadj(Scaled):
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Any]:
        return super().forward(z, params)[0], 0.0


class InDouble(Scaled):
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(z, params.double())


class Mixed(Scaled):
    """Subtracts the mean over the batch."""

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = super().forward(z, params)
        return x + params.mean(), ladj


class NoBroadcast(Scaled):
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        if params.shape[:-1] != z.shape:
            params = params.flip(0).expand(*z.shape, 2)
        return super().forward(z, params)


class Careless(Scaled):
    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = params.unbind(-1)
        return x.sub_(shift).mul(torch.exp(-log_scale)), -log_scale.expand_as(x)


class WrongInverse(Scaled):
    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        z, ladj = super().inverse(x, params)
        return z + 0.01, ladj


class OtherSign(Scaled):
    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        z, ladj = super().inverse(x, params)
        return z, -ladj


class WrongLadj(Scaled):
    """In both directions alike."""

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = super().forward(z, params)
        return x, 1.5 * ladj

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        z, ladj = super().inverse(x, params)
        return z, 1.5 * ladj


class SingleConstant(Scaled):
    """A logarithm that was rounded to single precision."""

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = super().forward(z, params)
        return x * 3, ladj + float(torch.tensor(3.0).log())

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        z, ladj = super().inverse(x / 3, params)
        return z, ladj - float(torch.tensor(3.0).log())


class Decreasing(Scaled):
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(-z, params)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        z, ladj = super().inverse(x, params)
        return -z, ladj


class Detached(Scaled):
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(z, params.detach())


class WrongSlopes(Scaled):
    def slopes(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        by_z, by_params = super().slopes(z, params)
        return by_z, 2 * by_params


class WrongSolver(Scaled):
    def solver(self, like: Tensor) -> Any:
        return lambda x, params: self.inverse(x, params)[0] * 1.001


class CarelessSolver(Scaled):
    def solver(self, like: Tensor) -> Any:
        return lambda x, params: x.copy_(self.inverse(x, params)[0])


@dataclasses.dataclass(frozen=True)
class Forgetful(Scaled):
    bound: float = 5.0

    def config(self) -> dict[str, Any]:
        return {}


class Raising(Scaled):
    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("later")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (InfiniteStart(), "start must be one or more finite numbers"),
        (Miscounted(), "parameters must be the length of start, 2, got 3"),
        (LogOfZero(), "forward at start must be finite for ordinary numbers"),
        (OneLadj(), r"must have shape \(100,\), got \(\): every batch shape must be kept"),
        (NoLadj(), "forward at start must be a tensor, got float"),
        (InDouble(), "the value of forward must have the dtype of the input, torch.float32, got"),
        (Mixed(), "the value of forward for one element alone differs from that in a batch by"),
        (NoBroadcast(), "with parameters shared by a batch differs from that with copies by"),
        (Careless(), "inverse changes its arguments in place"),
        (WrongInverse(), r"inverse\(forward\(z\)\) differs from z by 0.01 at z = .*, with"),
        (OtherSign(), "ladj of inverse differs from minus ladj of forward by"),
        (WrongLadj(), "ladj of forward differs from the logarithm of the slope of its value"),
        (SingleConstant(), "ladj of forward differs from the logarithm of the slope of its value"),
        (Decreasing(), r"forward must increase, got slope -.* at z = .*: a map that is flat"),
        (Detached(), "the derivative of forward with respect to params along a random direction"),
        (WrongSlopes(), "slopes differs from the derivative of forward by params by"),
        (WrongSolver(), "solver differs from inverse by"),
        (CarelessSolver(), "solver changes its arguments in place"),
        (Forgetful(3.0), "config must give the arguments that rebuild the map"),
        (Raising(), " raises NotImplementedError in the check of start: later"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Univariate) else "",
)  # fmt: skip
def test_a_broken_map_is_refused(broken: Univariate, message: str) -> None:
    with pytest.raises(AssertionError, match=f"^{type(broken).__name__}.*{message}"):
        check_univariate(broken)


def test_the_map_without_faults_passes() -> None:
    check_univariate(Scaled())


def test_global_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    with torch.no_grad():
        check_univariate(Affine())
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="map must be a Univariate, got str"):
        check_univariate("affine")  # pyright: ignore[reportArgumentType]
