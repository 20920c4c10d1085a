"""Tables of everything that the generic tests run on, and what they share.

A new univariate map, conditioner, transform or flow gets every generic test by one line here.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import transform_to

from invflow import IAF, MAF, NAF, NSF, UMNN, CouplingNSF, Flow, RealNVP, flows, kernels
from invflow.conditioners import (
    LSTM,
    MADE,
    Attention,
    CachedConditioner,
    Conditioner,
    Guided,
    MaskedConvolution,
)
from invflow.flows import Gaussian
from invflow.testing.perturbation import perturbed
from invflow.transforms import (
    ActNorm,
    Autoregressive,
    BatchNorm,
    Circles,
    Compose,
    Coupling,
    Elementwise,
    Householder,
    Inverse,
    LULinear,
    Permutation,
    Permuted,
    Planar,
    Preconditioner,
    Radial,
    Reflected,
    Rotation,
    Sigmoid,
    Softplus,
    Sylvester,
    Transform,
    UnitTriangular,
)
from invflow.univariate import (
    Additive,
    Affine,
    CircularSpline,
    Gated,
    Monotonic,
    Sigmoidal,
    Spline,
    Univariate,
)

BATCHES = [(), (5,), (2, 3)]
INVERSES = ["compiled", "cached", "fixed_point", "passes"]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fast(quick: Sequence[object], every: Iterable[object]) -> list[Any]:
    """Return the parameters of a test that is slow with all of them but the quick ones."""
    slow = pytest.mark.slow
    return [
        each
        if each in quick
        else pytest.param(*(each if isinstance(each, tuple) else (each,)), marks=slow)
        for each in every
    ]


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


#: Maps of one feature, at settings from which rounding keeps the digits that the tests ask for.
#: The tests' normal draws stay inside the splines' intervals, where features before reach them,
#: and all values on the circle, which is wide: outside, a value is another's angle.
UNIVARIATES: dict[str, Univariate] = {
    "affine": Affine(),
    "gated": Gated(),
    "tight": Affine(bound=0.4),
    "ajar": Gated(gate=-0.5),
    "additive": Additive(),
    "spline": Spline(bins=5, smallest_bin=0.7, bound=0.5),
    "spline-off-centre": Spline(bins=3, low=-4.5, high=6.0, smallest_bin=0.7, bound=0.5),
    "sigmoidal": Sigmoidal(units=3, layers=2, floor=0.2, bound=0.5),
    "sigmoidal-one": Sigmoidal(units=1, layers=1, bound=0.5),
    "monotonic": Monotonic(units=3, nodes=48, bound=0.7, steepness=0.7),
    "circular": CircularSpline(bins=4, low=-8.5, high=9.0, smallest_bin=0.7, bound=0.5),
}


def made(features: int, hidden: Sequence[int], **options: object) -> Callable[..., Conditioner]:
    def build(start: Sequence[float]) -> Conditioner:
        settings = {"activation": "tanh", **options, "generator": generator(5)}
        return MADE(features, start, hidden, **settings)

    return build


def network(
    kind: type[Conditioner], *sizes: object, **options: object
) -> Callable[..., Conditioner]:
    def build(start: Sequence[float]) -> Conditioner:
        features, hidden = sizes
        return kind(features, start, hidden, **options, generator=generator(5))

    return build


def convolution(
    shape: Sequence[int], hidden: Sequence[int], **options: object
) -> Callable[..., Conditioner]:
    def build(start: Sequence[float]) -> Conditioner:
        settings = {"shape": shape, **options, "generator": generator(5)}
        return MaskedConvolution(math.prod(shape), start, hidden, **settings)

    return build


#: Conditioners, each built from the values that the parameters of a feature start from.
CONDITIONERS: dict[str, Callable[[Sequence[float]], Conditioner]] = {
    "made-1": made(1, (4,)),
    "made-1-two-layers": made(1, (3, 2)),
    "made-1-context": made(1, (4, 4), context=2),
    "made-1-context-no-hidden": made(1, (), context=2),
    "made-2": made(2, (5,)),
    "made-2-narrow-context": made(2, (1,), context=1),
    "made-2-narrow-two-layers-context": made(2, (1, 1), context=1, activation="softplus"),
    "made-3-no-hidden": made(3, ()),
    "made-3-context-no-hidden": made(3, (), context=2),
    "made-3-three-layers-residual": made(3, (7, 7, 7), residual=True),
    "made-3-context": made(3, (9, 6), context=2, activation="elu"),
    "made-8-wide": made(8, (32,), activation="gelu"),
    "made-8-narrow": made(8, (3, 3)),
    "made-8-narrow-three-layers-context": made(8, (5, 2, 5), context=3, activation="silu"),
    "made-8-narrow-residual-context": made(8, (5, 5, 5), context=3, residual=True),
    "made-1-norm-context": made(1, (4, 4), context=2, norm=True),
    "made-8-skip": made(8, (16, 16), skip=True),
    "made-65-norm": made(65, (80, 70), norm=True),
    "made-8-norm-narrow-residual-context": made(8, (5, 5, 5), context=3, norm=True, residual=True),
    "made-3-norm-skip": made(3, (9, 6), norm=True, skip=True, activation="elu"),
    "made-8-row-panels": made(8, (512, 512), context=1),
    "made-65": made(65, (80,)),
    "made-65-narrow-residual-context": made(65, (16, 16), context=3, residual=True),
    "made-65-row-panels": made(65, (520, 512), context=2),
    "lstm-1": network(LSTM, 1, (4,)),
    "lstm-1-context": network(LSTM, 1, (3, 2), context=2),
    "lstm-3": network(LSTM, 3, (5,)),
    "lstm-3-two-layers-context": network(LSTM, 3, (4, 3), context=1),
    "lstm-8-three-layers": network(LSTM, 8, (5, 1, 4)),
    "lstm-8-two-layers-context": network(LSTM, 8, (6, 4), context=3),
    "attention-1": network(Attention, 1, (4,)),
    "attention-1-context": network(Attention, 1, (6,), context=2, heads=2),
    "attention-3": network(Attention, 3, (6,), heads=1),
    "attention-3-two-blocks-context": network(Attention, 3, (8, 8), context=1, heads=2),
    "attention-8-two-blocks": network(Attention, 8, (6, 6), heads=3),
    "attention-8-context": network(Attention, 8, (8,), context=3),
    "convolution-1": convolution((1, 1, 1), (3,)),
    "convolution-1-context": convolution((1, 1, 1), (4, 3), context=2),
    "convolution-1x2-context-no-hidden": convolution((2, 1, 2), (), context=2),
    "convolution-1x1-kernel-1": convolution((3, 1, 1), (7,), kernel_size=1),
    "convolution-1x1-narrow-context": convolution((3, 1, 1), (2, 1), context=1),
    "convolution-2x2": convolution((1, 2, 2), (5, 4), activation="tanh"),
    "convolution-2x2-context": convolution((2, 2, 2), (5, 4), context=8),
    "convolution-2x2-narrow": convolution((3, 2, 2), (2, 2), activation="silu"),
    "convolution-2x3-kernel-5-context": convolution((1, 2, 3), (4,), context=6, kernel_size=5),
    "convolution-3x1": convolution((2, 3, 1), (4, 6, 3), activation="softplus"),
    "made-3-one-group": made(3, (6, 5), group=3),
    "made-3-one-group-context": made(3, (6,), context=2, group=3),
    "made-8-groups-no-hidden": made(8, (), group=3),
    "made-8-groups-context": made(8, (9, 6), context=2, group=3, activation="elu"),
    "made-8-halves-skip": made(8, (12, 12), group=4, skip=True),
    "made-8-sizes-narrow-residual-context": made(
        8, (3, 3), context=1, group=(1, 4, 1, 2), residual=True
    ),
    "made-8-groups-norm": made(8, (9, 6), group=3, norm=True),
    "made-65-groups-row-panels": made(65, (520, 512), context=2, group=16),
    "lstm-8-groups-context": network(LSTM, 8, (6, 4), context=3, group=3),
    "lstm-8-sizes": network(LSTM, 8, (5,), group=(1, 4, 3)),
    "attention-65": network(Attention, 65, (8,), heads=2),
    "attention-3-one-group-context": network(Attention, 3, (6,), context=2, heads=2, group=3),
    "attention-8-groups-three-blocks-context": network(Attention, 8, (8, 8, 8), context=3, group=3),
    "attention-8-sizes-grid": network(Attention, 8, (6,), heads=1, group=(1, 4, 1, 2), grid=(2, 2)),
    "convolution-2x2-pixels": convolution((3, 2, 2), (5, 4), group=3),
    "convolution-1x2-groups-context": convolution((5, 1, 2), (6, 3), context=2, group=(2, 3) * 2),
}


def order(how: str, features: int) -> list[int] | None:
    if how == "same":
        return None
    if how == "reverse":
        return list(range(features))[::-1]
    return torch.randperm(features, generator=generator(3)).tolist()


def step(
    conditioner: str, univariate: str, how: str, reads: str = ""
) -> Callable[..., Autoregressive]:
    def build(inverse: str = "auto") -> Autoregressive:
        map = UNIVARIATES[univariate]
        network = CONDITIONERS[conditioner](map.start)
        positions = order(how, network.features)
        # More than half of all normal numbers are beyond 0.5, from where on less is read.
        bound = 1.0 if reads else None
        return perturbed(
            Autoregressive(network, map, order=positions, inverse=inverse, input_bound=bound)
        )

    return build


# Maps and orders take turns over the conditioners. A gate that a linear path feeds has slopes
# without bound in the inverse, where rounding then keeps no digits.
_FOR_ALL, _FOR_LINEAR = (
    cycle(UNIVARIATES),
    cycle([name for name in UNIVARIATES if name not in ("gated", "ajar")]),
)
_MAPS = [
    next(_FOR_LINEAR if any(part in name for part in ("narrow", "skip", "no-hidden")) else _FOR_ALL)
    for name in CONDITIONERS
]
_ORDERS = cycle(["random", "reverse/bounded", "same", "random/bounded", "reverse", "same/bounded"])
_TURNS = [
    *zip(CONDITIONERS, _MAPS, _ORDERS, strict=False),
    *(("made-3-context", name, "random") for name in UNIVARIATES),
]

#: Autoregressive transforms, each built with the inverse asked for.
AUTOREGRESSIVE: dict[str, Callable[..., Autoregressive]] = {
    "/".join(turn): step(*turn[:2], *turn[2].split("/")) for turn in _TURNS
}


def inverses(name: str) -> list[str]:
    """Return the inverses that a transform of `AUTOREGRESSIVE` has."""
    transform = AUTOREGRESSIVE[name]()
    served = kernels.serves(transform.conditioner, transform.univariate)
    return INVERSES if served else INVERSES[1:]


#: Each of `AUTOREGRESSIVE` with each of its inverses.
INVERTED = [(name, inverse) for name in AUTOREGRESSIVE for inverse in inverses(name)]


def over(conditioner: str) -> str:
    """Return the name of the first transform over a conditioner, whatever its turn gave it."""
    return next(name for name in AUTOREGRESSIVE if name.startswith(conditioner + "/"))


def _step(conditioner: str) -> Autoregressive:
    return AUTOREGRESSIVE[over(conditioner)]()


def amortised(kind: Callable[..., Transform], *args: object, **options: int) -> Callable[..., Any]:
    return lambda: perturbed(kind(*args, **options, generator=generator(2)))


def guided(conditioner: str, weight: float) -> Autoregressive:
    network = CONDITIONERS[conditioner](UNIVARIATES["affine"].start)
    assert isinstance(network, CachedConditioner)
    neutral = randn(network.context, seed=6, dtype=torch.float32)
    return perturbed(Autoregressive(Guided(network, neutral, weight), order=None))


def coupling(features: int, univariate: str = "affine", **options: object) -> Coupling:
    settings = {"hidden_features": (7, 5), "activation": "tanh", **options}
    return perturbed(
        Coupling(features, UNIVARIATES[univariate], generator=generator(5), **settings)
    )


def started(features: int) -> ActNorm:
    """Return an `ActNorm` whose first call has been made."""
    transform = ActNorm(features)
    transform.inverse(randn(20, features, seed=4, dtype=torch.float32) * 2 + 1)
    return perturbed(transform)


def circles(features: int, angles: list[int]) -> Circles:
    transform = Circles(features, angles).double()
    source = generator(3)
    centre, share = torch.rand((2, len(angles)), generator=source, dtype=torch.float64)
    # The tests' normal draws are less than half a turn away: further out is another's angle.
    transform.set(0.2 * centre - 0.1, 5 * share)
    return transform


def preconditioned(features: int) -> Preconditioner:
    transform = Preconditioner(features).double()
    scale = randn(features, features, seed=4).tril(-1) + torch.eye(features).double() * 1.5
    transform.set(randn(features, seed=5), scale)
    return transform


def averaged(features: int) -> BatchNorm:
    """Return a `BatchNorm` that has seen a batch, in evaluation mode."""
    transform = perturbed(BatchNorm(features, momentum=0.6))
    transform.inverse(randn(20, features, seed=4) * 2 + 1)
    return transform.eval()


#: All transforms, perturbed and in float64.
TRANSFORMS: dict[str, Callable[[], Transform]] = {
    **AUTOREGRESSIVE,
    "permutation-1": lambda: Permutation([0]),
    "permutation-8": lambda: Permutation(order("random", 8) or []),
    "elementwise-1": lambda: perturbed(Elementwise(1, generator=generator(2))),
    "elementwise-8-context": lambda: perturbed(
        Elementwise(8, "gated", context=3, generator=generator(2))
    ),
    "unit-triangular-1": lambda: perturbed(UnitTriangular(1)),
    "unit-triangular-8": lambda: perturbed(UnitTriangular(8)),
    "unit-triangular-3-context": lambda: perturbed(
        UnitTriangular(3, context=2, generator=generator(2))
    ),
    "planar-1": amortised(Planar, 1),
    "planar-3-context": amortised(Planar, 3, context=2),
    "planar-8": amortised(Planar, 8),
    "radial-1-context": amortised(Radial, 1, context=2),
    "radial-3": amortised(Radial, 3),
    "radial-8-context": amortised(Radial, 8, context=3),
    "householder-1": amortised(Householder, 1, 3),
    "householder-3-context": amortised(Householder, 3, 2, context=2),
    "householder-8": amortised(Householder, 8, 5),
    "sylvester-orthogonal-1-context": amortised(Sylvester, 1, context=2),
    "sylvester-orthogonal-3": amortised(Sylvester, 3, 2),
    "sylvester-orthogonal-8-context": amortised(Sylvester, 8, 3, context=3),
    "sylvester-householder-1": amortised(Sylvester, 1, 1, "householder"),
    "sylvester-householder-3-context": amortised(Sylvester, 3, 2, Reflected(3), context=2),
    "sylvester-householder-8": amortised(Sylvester, 8, 8, "householder"),
    "sylvester-triangular-1": amortised(Sylvester, 1, 1, "triangular"),
    "sylvester-triangular-3-context": amortised(Sylvester, 3, 3, "triangular", context=2),
    "sylvester-triangular-8": amortised(Sylvester, 8, 5, Permuted(reverse=True)),
    "lu-1": lambda: perturbed(LULinear(1)),
    "lu-3-random": lambda: perturbed(LULinear(3, "random", generator=generator(2))),
    "lu-65-reverse": lambda: perturbed(LULinear(65, "reverse")),
    "preconditioner-1": lambda: preconditioned(1),
    "preconditioner-8": lambda: preconditioned(8),
    "circles-1": lambda: circles(1, [0]),
    "circles-8": lambda: circles(8, [5, 2]),
    "rotation-1": lambda: perturbed(Rotation(1)),
    "rotation-8": lambda: perturbed(Rotation(8)),
    "rotation-65": lambda: perturbed(Rotation(65)),
    "actnorm-1": lambda: started(1),
    "actnorm-8": lambda: started(8),
    "batchnorm-1": lambda: averaged(1),
    "batchnorm-8": lambda: averaged(8),
    "coupling-2": lambda: coupling(2),
    "coupling-3-context": lambda: coupling(3, "gated", context=2, mask="halves"),
    "coupling-3-no-hidden-context": lambda: coupling(3, context=2, hidden_features=()),
    "coupling-8-mask": lambda: coupling(8, mask=[i in (1, 4, 5) for i in range(8)]),
    "coupling-65-context": lambda: coupling(65, "tight", context=3, activation="silu"),
    "sigmoid-1": lambda: Sigmoid(1),
    "sigmoid-8": lambda: Sigmoid(8, -2.0, 3.5),
    "softplus-1": lambda: Softplus(1),
    "softplus-8": lambda: Softplus(8, -1.5),
    "inverse-sigmoid-3": lambda: Inverse(Sigmoid(3, 1.0, 2.0)),
    "compose-3-bounded-context": lambda: Compose([coupling(3, context=2), Softplus(3)]),
    "guided-3-context": lambda: guided("made-3-context", 0.8),
    "guided-8-context": lambda: guided("attention-8-groups-three-blocks-context", 0.3),
    "inverse-1": lambda: Inverse(_step("made-1")),
    "inverse-3-context": lambda: Inverse(_step("made-3-context")),
    "inverse-65": lambda: Inverse(_step("made-65")),
    "compose-1": lambda: Compose([_step("made-1"), _step("made-1-context")]),
    "compose-3-mixed": lambda: Compose(
        [
            _step("made-3-no-hidden"),
            perturbed(Elementwise(3, "gated", context=2, generator=generator(3))),
            Permutation([1, 2, 0]),
            Inverse(_step("made-3-context")),
        ]
    ),
}

#: The transforms on which tests can afford many calls.
SMALL = {
    name: build for name, build in TRANSFORMS.items() if "65" not in name and "panels" not in name
}


def flow(kind: type[Flow], /, *sizes: object, **options: object) -> Callable[[], Flow]:
    return lambda: perturbed(kind(*sizes, generator=generator(2), **options), scale=0.3)


#: Flows, perturbed and in float64: features, context, transforms, hidden_features.
FLOWS: dict[str, Callable[[], Flow]] = {
    "iaf-1": flow(IAF, 1, 0, 1, (4,)),
    "iaf-1-context": flow(IAF, 1, 2, 4, ()),
    "iaf-2": flow(IAF, 2, 0, 4, (8, 8), order="random"),
    "iaf-3-gated-context": flow(IAF, 3, 2, 4, (6,), univariate="gated"),
    "iaf-8-fixed-point": flow(IAF, 8, 0, 4, (16, 16), inverse="fixed_point"),
    "iaf-8-passes-context": flow(IAF, 8, 3, 1, (3, 3), inverse="passes"),
    "iaf-65-context": flow(IAF, 65, 3, 4, (16, 16), order="random", residual=True),
    "iaf-3-lstm-context": flow(IAF, 3, 2, 2, (5, 4), conditioner="lstm"),
    "iaf-3-attention": flow(IAF, 3, 0, 2, (8,), conditioner="attention", order="random"),
    "maf-8-lstm": flow(MAF, 8, 0, 2, (6,), conditioner="lstm"),
    "maf-8-attention-context": flow(MAF, 8, 3, 2, (6, 6), conditioner="attention", heads=2),
    "iaf-3-spline-context": flow(IAF, 3, 2, 2, (6,), univariate="spline"),
    "iaf-2-circular": flow(IAF, 2, 0, 2, (6,), univariate="circular"),
    "maf-1": flow(MAF, 1, 0, 4, (3, 2)),
    "maf-2-context": flow(MAF, 2, 1, 4, (1,), order="same"),
    "maf-8-residual": flow(MAF, 8, 0, 4, (5, 5, 5), residual=True),
    "maf-65": flow(MAF, 65, 0, 1, (80,)),
    "iaf-3-student-t": flow(IAF, 3, 0, 2, (6,), base={"name": "student-t", "df": 3.0}),
    "maf-2-logistic-context": flow(MAF, 2, 1, 2, (6,), base="logistic"),
    "nsf-3-context": flow(NSF, 3, 2, 2, (8,)),
    "nsf-8": flow(NSF, 8, 0, 1, (16,), univariate={"name": "spline", "bins": 4}),
    "naf-1-context": flow(NAF, 1, 2, 2, (4,)),
    "naf-3": flow(NAF, 3, 0, 2, (8,), univariate={"name": "sigmoidal", "units": 4, "floor": 0.1}),
    "umnn-3-context": flow(UMNN, 3, 2, 1, (8,), univariate={"name": "monotonic", "nodes": 64}),
    "iaf-3-sigmoidal-context": flow(IAF, 3, 2, 1, (8,), univariate="sigmoidal"),
    "realnvp-2-context": flow(RealNVP, 2, 1, 3, (6,)),
    "realnvp-8": flow(RealNVP, 8, 0, 2, (8, 8), mask="halves", activation="silu"),
    "coupling-nsf-3": flow(CouplingNSF, 3, 0, 3, (8,)),
    "coupling-nsf-8-circular": flow(CouplingNSF, 8, 0, 2, (6,), univariate="circular"),
    "planar-1-context": flow(flows.Planar, 1, 2, 3),
    "planar-8": flow(flows.Planar, 8),
    "radial-3-context": flow(flows.Radial, 3, 2),
    "sylvester-3": flow(flows.Sylvester, 3, basis="triangular"),
    "sylvester-8-context": flow(flows.Sylvester, 8, 2, 2, columns=3, basis="householder"),
    "gaussian-1": flow(Gaussian, 1),
    "gaussian-3-context": flow(Gaussian, 3, 2),
    "gaussian-8-diagonal": flow(Gaussian, 8, kind="diagonal"),
    "iaf-2x2-convolution": flow(IAF, 8, 8, 2, (6,), conditioner="convolution", shape=(2, 2, 2)),
    "maf-1x3-convolution": flow(MAF, 6, 0, 2, (5, 4), conditioner="convolution", shape=[2, 1, 3]),
    "iaf-8-groups-context": flow(IAF, 8, 3, 3, (12, 12), group=3, order="random"),
    "maf-65-groups": flow(MAF, 65, 0, 2, (40,), group=[30, 5, 30]),
    "nsf-3-one-group": flow(NSF, 3, 0, 1, (8,), group=3),
    "maf-8-lstm-groups-context": flow(MAF, 8, 3, 2, (6,), conditioner="lstm", group=3),
    "iaf-1x3-convolution-pixels": flow(
        IAF, 6, 0, 2, (5, 4), conditioner="convolution", shape=[2, 1, 3], group=2
    ),
    "tarflow-2x2x4": flow(flows.TarFlow, (2, 2, 4), 2, 0, 3, (8, 8), heads=2),
    "tarflow-1x2x2-classes": flow(flows.TarFlow, (1, 2, 2), 1, 0, 2, (8,), classes=3),
    "tariaf-2x2x2-context": flow(flows.TarIAF, (2, 2, 2), 1, 3, 2, (8,), grid=(2, 2)),
    "by-hand": lambda: Flow(TRANSFORMS["compose-3-mixed"]()),
}


def preserves_volume(transform: Transform) -> bool:
    """Whether the transform has no log-det that could be wrong, nor a gradient of it."""
    if isinstance(transform, Householder | Rotation | UnitTriangular):
        return True
    return isinstance(getattr(transform, "univariate", None), Additive)


def context_for(
    module: Transform | Conditioner | Flow, *batch: int, seed: int = 7
) -> Tensor | None:
    """Return a context of the declared size, None where none was declared."""
    return randn(*batch, module.context, seed=seed) if module.context else None


def values(transform: Transform, direction: str, *batch: int, seed: int = 0) -> Tensor:
    """Return vectors that a direction of a transform takes: random ones inside its support."""
    support = transform.domain if direction == "forward" else transform.codomain
    return transform_to(support)(randn(*batch, transform.features, seed=seed))


@dataclasses.dataclass(frozen=True)
class SinhArcsinh(Univariate):
    """A map of three parameters that is in no table: x = m + sinh(e^t arcsinh(z) + k)."""

    skew: float = 0.2

    @property
    def start(self) -> tuple[float, ...]:
        return (0.0, 0.0, self.skew)

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, tail, skew = params.unbind(-1)
        tail = torch.tanh(tail)
        inner = torch.exp(tail) * torch.asinh(z) + skew
        ladj = tail + torch.log(torch.cosh(inner)) - 0.5 * torch.log1p(z.square())
        return shift + torch.sinh(inner), ladj

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, tail, skew = params.unbind(-1)
        z = torch.sinh((torch.asinh(x - shift) - skew) * torch.exp(-torch.tanh(tail)))
        return z, -self.forward(z, params)[1]


class Both(nn.Module):
    """Both directions of a transform as one module's forward, for `functional_call`."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(
        self, direction: str, value: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        run = self.transform if direction == "forward" else self.transform.inverse
        return run(value, context)


DIRECTIONS = ["forward", "inverse"]


def directed(transform: Transform, direction: str) -> Callable[..., tuple[Tensor, Tensor]]:
    return transform if direction == "forward" else transform.inverse


def gradients(
    value: Tensor,
    ladj: Tensor,
    inputs: Iterable[Tensor],
    of: str = "both",
    *,
    retain_graph: bool = False,
) -> list[Tensor]:
    """Return the gradients of a fixed random combination of the value, the ladj, or both."""
    terms = {
        "value": (value * randn(*value.shape, seed=21).to(value)).sum(),
        "ladj": (ladj * randn(*ladj.shape, seed=22).to(ladj)).sum(),
    }
    loss = terms["value"] + terms["ladj"] if of == "both" else terms[of]
    inputs = list(inputs)
    found = torch.autograd.grad(loss, inputs, retain_graph=retain_graph, allow_unused=True)
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(inputs, found, strict=True)
    ]


def assert_close(actual: object, expected: object, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def unrecorded(directory: Path) -> None:
    """Remove the sha256 of its tensors from a saved model, which earlier versions did not record.

    So that what is said of other tensors is not that they were not saved together.
    """
    path = directory / "config.json"
    content = json.loads(path.read_text())
    del content["tensors"]
    path.write_text(json.dumps(content))
