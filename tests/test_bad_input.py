"""Every wrong argument is refused by a message that names it, and says what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from invflow import IAF, MAF, Flow
from invflow.conditioners import (
    CONDITIONERS,
    LSTM,
    MADE,
    Attention,
    Conditioner,
    MaskedConvolution,
    Perceptron,
    raster_order,
)
from invflow.flows import StandardNormal
from invflow.transforms import (
    ActNorm,
    Autoregressive,
    BatchNorm,
    Compose,
    Coupling,
    Elementwise,
    Householder,
    Inverse,
    LULinear,
    Permutation,
    Permuted,
    Planar,
    Radial,
    Reflected,
    Rotation,
    Sigmoid,
    Softplus,
    Sylvester,
    Transform,
    masks,
    orders,
)
from invflow.univariate import Affine, CircularSpline, Gated, Spline, univariate
from tests.helpers import SinhArcsinh

Case = tuple[Callable[[], Any], type[Exception], str]

X, C = torch.zeros(5, 3), torch.zeros(5, 2)

TRANSFORMS: dict[str, Callable[[int], Transform]] = {
    "autoregressive": lambda context: Autoregressive(MADE(3, (0.0, 0.0), context=context)),
    "elementwise": lambda context: Elementwise(3, context=context),
    "compose": lambda context: Compose([Permutation([2, 0, 1]), Elementwise(3, context=context)]),
    "inverse": lambda context: Inverse(Elementwise(3, context=context)),
    "planar": lambda context: Planar(3, context=context),
    "radial": lambda context: Radial(3, context=context),
    "householder": lambda context: Householder(3, context=context),
    "sylvester": lambda context: Sylvester(3, 2, context=context),
    "coupling": lambda context: Coupling(3, context=context),
    "linear": lambda context: Compose([LULinear(3), Elementwise(3, context=context)]),
    "rotation": lambda context: Compose([Rotation(3), Elementwise(3, context=context)]),
    "actnorm": lambda context: Compose([ActNorm(3), Elementwise(3, context=context)]),
    "batchnorm": lambda context: Compose([BatchNorm(3), Elementwise(3, context=context)]),
}

# What is given to a transform without a context, with what must be said of it. The value is called
# z on the way forward, and x on the way back.
VALUES: dict[str, tuple[Any, type[Exception], str]] = {
    "too-many-features": (torch.zeros(5, 4), ValueError, r"shape \(\*batch, 3\).*got \(5, 4\)"),
    "too-few-features": (torch.zeros(5, 2), ValueError, r"shape \(\*batch, 3\).*got \(5, 2\)"),
    "one-feature": (torch.zeros(5, 1), ValueError, r"shape \(\*batch, 3\).*got \(5, 1\)"),
    "zero-dim": (torch.tensor(1.0), ValueError, r"shape \(\*batch, 3\).*got \(\)"),
    "integers": (torch.zeros(5, 3).long(), TypeError, "floating-point dtype, got torch.int64"),
    "bool": (torch.zeros(5, 3).bool(), TypeError, "floating-point dtype, got torch.bool"),
    "complex": (torch.zeros(5, 3) + 0j, TypeError, "floating-point dtype, got torch.complex64"),
    "numpy": (np.zeros((5, 3), np.float32), TypeError, "torch.Tensor, got ndarray"),
    "list": ([[0.0, 0.0, 0.0]], TypeError, "torch.Tensor, got list"),
    "none": (None, TypeError, "torch.Tensor, got NoneType"),
    "float64": (X.double(), TypeError, "dtype torch.float32, got torch.float64"),
    "bfloat16": (X.bfloat16(), TypeError, "dtype torch.float32, got torch.bfloat16"),
    "other-device": (X.to("meta"), ValueError, "device cpu, got meta"),
}

CONTEXTS: dict[str, tuple[Any, type[Exception], str]] = {
    "missing": (None, ValueError, r"\(\*batch, 2\) is required, got None"),
    "too-large": (torch.zeros(5, 3), ValueError, r"shape \(\*batch, 2\).*got \(5, 3\)"),
    "too-small": (torch.zeros(5, 1), ValueError, r"shape \(\*batch, 2\).*got \(5, 1\)"),
    "zero-dim": (torch.tensor(1.0), ValueError, r"shape \(\*batch, 2\).*got \(\)"),
    "integers": (torch.zeros(5, 2).int(), TypeError, "floating-point dtype, got torch.int32"),
    "numpy": (np.zeros((5, 2), np.float32), TypeError, "torch.Tensor, got ndarray"),
    "list": ([[0.0, 0.0]], TypeError, "torch.Tensor, got list"),
    "float64": (C.double(), TypeError, "dtype torch.float32, got torch.float64"),
    "other-device": (C.to("meta"), ValueError, "device cpu, got meta"),
}
# Where there is a batch for the context to fit.
BATCHED: dict[str, tuple[Any, type[Exception], str]] = {
    "batch-too-large": (torch.zeros(7, 2), ValueError, r"broadcast to.*\(5,\).*got.*\(7,\)"),
    "batch-too-small": (torch.zeros(4, 2), ValueError, r"broadcast to.*\(5,\).*got.*\(4,\)"),
    "batch-too-deep": (torch.zeros(2, 5, 2), ValueError, r"broadcast to.*\(5,\).*got.*\(2, 5\)"),
}
UNWANTED: dict[str, tuple[Any, type[Exception], str]] = {
    "tensor": (C, ValueError, r"none was declared \(context=0\), got.*\(5, 2\)"),
    "empty": (torch.zeros(5, 0), ValueError, r"none was declared \(context=0\)"),
    "list": ([[0.0, 0.0]], (TypeError, ValueError), "none was declared|must be None"),
}

transforms = pytest.mark.parametrize("build", TRANSFORMS.values(), ids=TRANSFORMS)


def _cases(cases: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("bad", "error", "message"), cases.values(), ids=cases)


@transforms
@_cases(VALUES)
def test_bad_value_for_a_transform(
    build: Callable[[int], Transform], bad: Any, error: type[Exception], message: str
) -> None:
    transform = build(0)
    for name, run in (("z", transform), ("x", transform.inverse)):
        with pytest.raises(error, match=rf"^{name} .*{message}"):
            run(bad)


@transforms
@_cases(CONTEXTS | BATCHED)
def test_bad_context_for_a_transform(
    build: Callable[[int], Transform], bad: Any, error: type[Exception], message: str
) -> None:
    transform = build(2)
    for run in (transform, transform.inverse):
        with pytest.raises(error, match=rf"^context .*{message}"):
            run(X, bad)


@transforms
@_cases(UNWANTED)
def test_unwanted_context_for_a_transform(
    build: Callable[[int], Transform], bad: Any, error: type[Exception], message: str
) -> None:
    transform = build(0)
    for run in (transform, transform.inverse):
        with pytest.raises(error, match=rf"^context .*({message})"):
            run(X, bad)


@_cases(VALUES)
@pytest.mark.parametrize("kind", [IAF, MAF])
@pytest.mark.parametrize("validate", [True, False, None])
def test_bad_value_for_log_prob(
    kind: type[Flow], validate: bool | None, bad: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"^value .*{message}"):
        kind(3)(validate_args=validate).log_prob(bad)


@_cases(CONTEXTS)
def test_bad_context_for_a_flow(bad: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^context .*{message}"):
        IAF(3, 2)(bad)


@_cases(UNWANTED)
def test_unwanted_context_for_a_flow(bad: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^context .*({message})"):
        IAF(3)(bad)


def _conditioner(name: str, context: int = 0) -> Conditioner:
    # Three pixels of one channel; with a context of two, one pixel of three channels.
    shape = (3, 1, 1) if context else (1, 1, 3)
    options = {"shape": shape} if name == "convolution" else {}
    return CONDITIONERS[name](3, (0.0, 0.0), (8,), context, **options)


kinds = pytest.mark.parametrize("kind", CONDITIONERS)


@kinds
@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        (0.0, TypeError, "start must be a sequence of numbers, got 0.0"),
        ("ab", TypeError, "start must be a sequence of numbers, got 'ab'"),
        ((0.0, "a"), TypeError, r"start\[1\] must be a number, got 'a'"),
        ((), ValueError, r"start must be one or more finite numbers, got \(\)"),
        ((0.0, math.nan), ValueError, "start must be one or more finite numbers"),
    ],
    ids=str,
)
def test_bad_start_for_a_conditioner(
    kind: str, start: Any, error: type[Exception], message: str
) -> None:
    options = {"shape": (1, 1, 3)} if kind == "convolution" else {}
    with pytest.raises(error, match=message):
        CONDITIONERS[kind](3, start, (8,), **options)


@kinds
def test_whole_numbers_and_arrays_to_start_from(kind: str) -> None:
    options = {"shape": (1, 1, 3)} if kind == "convolution" else {}
    for start in ((0, 1), np.array([0.0, 1.0]), torch.tensor([0, 1])):
        made = CONDITIONERS[kind](3, start, (8,), **options)
        assert made(torch.zeros(2, 3)).dtype == torch.float32


@kinds
@_cases(VALUES)
def test_bad_value_for_a_conditioner(
    kind: str, bad: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"^z .*{message}"):
        _conditioner(kind)(bad)


@kinds
@_cases(CONTEXTS | BATCHED)
def test_bad_context_for_a_conditioner(
    kind: str, bad: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"^context .*{message}"):
        _conditioner(kind, 2)(X, bad)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", [IAF, MAF])
def test_values_that_are_not_finite(kind: type[Flow], bad: float) -> None:
    flow, value = kind(3), X.clone()
    value[1, 2] = bad
    with pytest.raises(
        ValueError, match="value must be finite, got 1 NaN or infinite entries out of 15"
    ):
        flow(validate_args=True).log_prob(value)
    log_q = flow(validate_args=False).log_prob(value)
    assert not torch.isfinite(log_q[1])
    assert torch.isfinite(log_q[[0, 2, 3, 4]]).all()


def test_value_that_does_not_broadcast_against_the_batch() -> None:
    q = IAF(3, 2)(C)
    with pytest.raises(ValueError, match=r"value.*\(5,.*\(4,"):
        q.log_prob(torch.zeros(4, 3))


MADE_3 = MADE(3, (0.0, 0.0))

ARGUMENTS: dict[str, Case] = {
    "features-zero": (lambda: IAF(0), ValueError, "features must be at least 1, got 0"),
    "features-negative": (lambda: MAF(-2), ValueError, "features must be at least 1, got -2"),
    "features-float": (lambda: IAF(3.0), TypeError, "features must be an integer, got 3.0"),
    "features-bool": (lambda: IAF(True), TypeError, "features must be an integer, got True"),
    "features-none": (lambda: IAF(None), TypeError, "features must be an integer, got None"),
    "features-text": (lambda: IAF("3"), TypeError, "features must be an integer, got '3'"),
    "features-made": (lambda: MADE(0, (0.0,)), ValueError, "features must be at least 1, got 0"),
    "features-elementwise": (lambda: Elementwise(0), ValueError, "features must be at least 1"),
    "features-base": (lambda: StandardNormal(0), ValueError, "features must be at least 1"),
    "context-negative": (lambda: IAF(3, -1), ValueError, "context must be at least 0, got -1"),
    "context-float": (lambda: IAF(3, 2.0), TypeError, "context must be an integer, got 2.0"),
    "context-bool": (lambda: MAF(3, True), TypeError, "context must be an integer, got True"),
    "context-elementwise": (
        lambda: Elementwise(3, context=-1),
        ValueError,
        "context must be at least 0, got -1",
    ),
    "transforms-zero": (lambda: IAF(3, 0, 0), ValueError, "transforms must be at least 1, got 0"),
    "transforms-float": (lambda: IAF(3, 0, 1.5), TypeError, "transforms must be an integer"),
    "width-zero": (
        lambda: IAF(3, hidden_features=(8, 0)),
        ValueError,
        r"hidden_features\[1\] must be at least 1, got 0",
    ),
    "width-float": (
        lambda: IAF(3, hidden_features=(8.0,)),
        TypeError,
        r"hidden_features\[0\] must be an integer, got 8.0",
    ),
    "width-bool": (
        lambda: IAF(3, hidden_features=[True]),
        TypeError,
        r"hidden_features\[0\] must be an integer, got True",
    ),
    "widths-number": (
        lambda: IAF(3, hidden_features=64),
        TypeError,
        "hidden_features must be a sequence of integers, got 64",
    ),
    "widths-text": (
        lambda: IAF(3, hidden_features="64"),
        TypeError,
        "hidden_features must be a sequence of integers, got '64'",
    ),
    "widths-none": (
        lambda: IAF(3, hidden_features=None),
        TypeError,
        "hidden_features must be a sequence of integers, got None",
    ),
    "group-zero": (lambda: IAF(3, group=0), ValueError, "group must be at least 1, got 0"),
    "group-float": (lambda: IAF(3, group=1.5), TypeError, "group must be an integer, got 1.5"),
    "group-text": (lambda: IAF(3, group="2"), TypeError, "group must be an integer, got '2'"),
    "group-large": (
        lambda: MADE(3, (0.0,), group=4),
        ValueError,
        "group must be at most the number of features, 3, got 4",
    ),
    "group-sum": (
        lambda: LSTM(3, (0.0,), group=(2, 2)),
        ValueError,
        r"group must be sizes that sum to the number of features, 3, got 2 sizes with sum 4",
    ),
    "group-none": (
        lambda: IAF(3, group=()),
        ValueError,
        r"group must be sizes that sum to the number of features, 3, got 0 sizes with sum 0",
    ),
    "group-entry": (
        lambda: IAF(3, group=(3, 0)),
        ValueError,
        r"group\[1\] must be at least 1, got 0",
    ),
    "group-pixel": (
        lambda: IAF(8, conditioner="convolution", shape=(2, 2, 2), group=4),
        ValueError,
        "group must divide the channels of every pixel in the same way, for example group=2",
    ),
    "residual-widths": (
        lambda: IAF(3, hidden_features=(8, 9), residual=True),
        ValueError,
        r"hidden_features must all be equal for residual=True, got \(8, 9\)",
    ),
    "residual-text": (
        lambda: IAF(3, residual="yes"),
        TypeError,
        "residual must be True or False, got 'yes'",
    ),
    "skip-number": (lambda: IAF(3, skip=1), TypeError, "skip must be True or False, got 1"),
    "norm-text": (lambda: IAF(3, norm="layer"), TypeError, "norm must be True or False"),
    "univariate-name": (
        lambda: IAF(3, univariate="cubic"),
        ValueError,
        "univariate must be one of .*'affine', .*got 'cubic'",
    ),
    "univariate-mapping-name": (
        lambda: IAF(3, univariate={"bound": 2.0}),
        ValueError,
        "univariate must be one of .*'affine', .*got None",
    ),
    "univariate-field": (
        lambda: univariate({"name": "affine", "gate": 2.0}),
        TypeError,
        "gate",
    ),
    "univariate-type": (
        lambda: Elementwise(3, 5),
        TypeError,
        "univariate must be a name, a mapping or a Univariate, got int",
    ),
    "univariate-class": (
        lambda: IAF(3, univariate=Affine),
        TypeError,
        "univariate must be a name, a mapping or a Univariate",
    ),
    "univariate-unnamed": (
        lambda: IAF(3, univariate=SinhArcsinh()).described(),
        ValueError,
        r'univariate: only .* invflow.univariate.UNIVARIATES\["my-name"\] = SinhArcsinh',
    ),
    "circular-base": (
        lambda: IAF(3, univariate="circular", base="normal"),
        ValueError,
        "base must be {'name': 'uniform'.*got {'name': 'normal'}",
    ),
    "bound-zero": (lambda: Affine(bound=0.0), ValueError, "bound must be positive and finite"),
    "bound-infinite": (lambda: Affine(bound=float("inf")), ValueError, "bound must be positive"),
    "bound-text": (lambda: Affine(bound="5"), TypeError, "bound"),
    "gate-nan": (lambda: Gated(gate=float("nan")), ValueError, "gate must be finite, got nan"),
    "gate-text": (lambda: Gated(gate="open"), TypeError, "gate"),
    "bins-one": (lambda: Spline(bins=1), ValueError, "bins must be at least 2, got 1"),
    "bins-float": (lambda: CircularSpline(bins=8.0), TypeError, "bins must be an integer, got 8.0"),
    "low-text": (lambda: Spline(low="0"), TypeError, "low must be a number, got '0'"),
    "high-infinite": (
        lambda: CircularSpline(high=float("inf")),
        ValueError,
        "high must be finite, got inf",
    ),
    "low-above-high": (
        lambda: Spline(low=2.0, high=2.0),
        ValueError,
        "low must be below high, got 2.0 and 2.0",
    ),
    "smallest-bin-one": (
        lambda: Spline(smallest_bin=1),
        ValueError,
        "smallest_bin must be between 0 and 1, got 1",
    ),
    "smallest-bin-bool": (
        lambda: CircularSpline(smallest_bin=True),
        TypeError,
        "smallest_bin must be a number, got True",
    ),
    "spline-bound-nan": (
        lambda: Spline(bound=float("nan")),
        ValueError,
        "bound must be positive and finite, got nan",
    ),
    "conditioner-name": (
        lambda: IAF(3, conditioner="rnn"),
        ValueError,
        "conditioner must be one of .*'made'.*got 'rnn'",
    ),
    "lstm-features": (lambda: LSTM(0, (0.0,)), ValueError, "features must be at least 1, got 0"),
    "lstm-context": (lambda: LSTM(3, (0.0,), (8,), -1), ValueError, "context must be at least 0"),
    "lstm-no-layer": (
        lambda: IAF(3, conditioner="lstm", hidden_features=()),
        ValueError,
        r"hidden_features must hold at least one width, got \(\)",
    ),
    "lstm-width": (lambda: LSTM(3, (0.0,), (8, 0)), ValueError, r"hidden_features\[1\] must be at"),
    "lstm-option": (lambda: IAF(3, conditioner="lstm", heads=2), TypeError, "heads"),
    "attention-features": (
        lambda: Attention(2.0, (0.0,)),
        TypeError,
        "features must be an integer, got 2.0",
    ),
    "attention-no-block": (
        lambda: IAF(3, conditioner="attention", hidden_features=()),
        ValueError,
        r"hidden_features must be one or more equal widths for attention, got \(\)",
    ),
    "attention-widths": (
        lambda: Attention(3, (0.0,), (8, 4)),
        ValueError,
        r"hidden_features must be one or more equal widths for attention, got \(8, 4\)",
    ),
    "attention-narrow": (
        lambda: Attention(3, (0.0,), (2,), heads=1),
        ValueError,
        r"hidden_features must be at least 3 for attention, got \(2,\)",
    ),
    "attention-heads": (
        lambda: IAF(3, conditioner="attention", hidden_features=(8,), heads=3),
        ValueError,
        "heads must divide the width 8 of the blocks, got 3",
    ),
    "attention-heads-zero": (
        lambda: Attention(3, (0.0,), (8,), heads=0),
        ValueError,
        "heads must be at least 1, got 0",
    ),
    "attention-heads-float": (
        lambda: Attention(3, (0.0,), (8,), heads=2.0),
        TypeError,
        "heads must be an integer, got 2.0",
    ),
    "convolution-no-shape": (lambda: IAF(4, conditioner="convolution"), TypeError, "shape"),
    "convolution-shape-features": (
        lambda: MaskedConvolution(4, (0.0,), shape=(2, 2, 2)),
        ValueError,
        r"shape must have 4 entries, one for each feature, got \(2, 2, 2\) with 8",
    ),
    "convolution-shape-vector": (
        lambda: MaskedConvolution(4, (0.0,), shape=(4,)),
        ValueError,
        r"shape must be \(channels, height, width\), got \(4,\)",
    ),
    "convolution-shape-number": (
        lambda: MaskedConvolution(4, (0.0,), shape=4),
        TypeError,
        "shape must be a sequence of integers, got 4",
    ),
    "convolution-shape-zero": (
        lambda: raster_order((0, 2, 2)),
        ValueError,
        r"shape\[0\] must be at least 1, got 0",
    ),
    "convolution-shape-float": (
        lambda: raster_order((1, 2.0, 2)),
        TypeError,
        r"shape\[1\] must be an integer, got 2.0",
    ),
    "convolution-context": (
        lambda: MaskedConvolution(4, (0.0,), context=6, shape=(1, 2, 2)),
        ValueError,
        "context must be whole maps of 2 x 2, a multiple of 4, got 6",
    ),
    "convolution-kernel-even": (
        lambda: MaskedConvolution(4, (0.0,), shape=(1, 2, 2), kernel_size=2),
        ValueError,
        "kernel_size must be odd, got 2",
    ),
    "convolution-kernel-zero": (
        lambda: MaskedConvolution(4, (0.0,), shape=(1, 2, 2), kernel_size=0),
        ValueError,
        "kernel_size must be at least 1, got 0",
    ),
    "convolution-kernel-float": (
        lambda: MaskedConvolution(4, (0.0,), shape=(1, 2, 2), kernel_size=3.0),
        TypeError,
        "kernel_size must be an integer, got 3.0",
    ),
    "convolution-width": (
        lambda: MaskedConvolution(4, (0.0,), (8, 0), shape=(1, 2, 2)),
        ValueError,
        r"hidden_features\[1\] must be at least 1, got 0",
    ),
    "convolution-activation": (
        lambda: MaskedConvolution(4, (0.0,), shape=(1, 2, 2), activation="step"),
        ValueError,
        "activation must be one of .*'relu'.*got 'step'",
    ),
    "conditioner-type": (lambda: IAF(3, conditioner=5), TypeError, "conditioner"),
    "conditioner-built": (
        lambda: IAF(3, conditioner=MADE_3),
        TypeError,
        "conditioner must be a name, a Conditioner class or another callable.*got a MADE",
    ),
    "conditioner-made-of-nothing": (
        lambda: IAF(3, conditioner=lambda *_, **__: None),
        TypeError,
        "conditioner must be a Conditioner, got NoneType",
    ),
    "conditioner-other-module": (
        lambda: Autoregressive(torch.nn.Linear(3, 6)),
        TypeError,
        "conditioner must be a Conditioner, got Linear",
    ),
    "conditioner-outputs": (
        lambda: Autoregressive(MADE(3, (0.0,))),
        ValueError,
        "conditioner must give 2 parameters per feature.*got 1",
    ),
    "option": (lambda: IAF(3, colour="red"), TypeError, "colour"),
    "activation-name": (
        lambda: IAF(3, activation="step"),
        ValueError,
        "activation must be one of .*'relu'.*got 'step'",
    ),
    "activation-function": (
        lambda: IAF(3, activation=torch.tanh),
        ValueError,
        "activation must be one of .*'relu'",
    ),
    "order-name": (
        lambda: IAF(3, order="sideways"),
        ValueError,
        "order must be one of 'random', 'reverse', 'same', got 'sideways'",
    ),
    "order-none": (lambda: orders(None, 3, 2), ValueError, "order must be one of"),
    "orders-none": (lambda: orders("random", 3, 0), ValueError, "count must be at least 1, got 0"),
    "orders-features": (lambda: orders("random", 0, 2), ValueError, "features must be at least 1"),
    "order-repeats": (
        lambda: Autoregressive(MADE_3, order=[0, 1, 1]),
        ValueError,
        r"order must be a permutation of 0 .. 2, got \[0, 1, 1\]",
    ),
    "order-from-one": (
        lambda: Autoregressive(MADE_3, order=[1, 2, 3]),
        ValueError,
        "order must be a permutation of 0 .. 2",
    ),
    "order-short": (
        lambda: Autoregressive(MADE_3, order=[1, 0]),
        ValueError,
        "order must be a permutation of 0 .. 2",
    ),
    "order-matrix": (
        lambda: Autoregressive(MADE_3, order=torch.zeros(1, 3).long()),
        ValueError,
        "order must be a permutation of 0 .. 2",
    ),
    "order-float": (
        lambda: Autoregressive(MADE_3, order=[0.0, 1.0, 2.0]),
        TypeError,
        r"order\[0\] must be an integer, got 0.0",
    ),
    "order-bool": (
        lambda: Autoregressive(MADE(2, (0.0, 0.0)), order=[False, True]),
        TypeError,
        r"order\[0\] must be an integer, got False",
    ),
    "order-text": (lambda: Autoregressive(MADE_3, order="reverse"), TypeError, "order"),
    "order-number": (lambda: Permutation(3), TypeError, "order"),
    "order-empty": (lambda: Permutation([]), ValueError, "order|features"),
    "order-permutation": (lambda: Permutation([0, 2]), ValueError, "order must be a permutation"),
    "order-permutation-float": (
        lambda: Permutation(torch.tensor([1.0, 0.0])),
        TypeError,
        "order must hold integers, got dtype torch.float32",
    ),
    "inverse-name": (
        lambda: IAF(3, inverse="newton"),
        ValueError,
        "inverse must be one of 'auto', 'cached', 'compiled', 'fixed_point', 'passes', "
        "got 'newton'",
    ),
    "tolerance-negative": (
        lambda: Autoregressive(MADE_3, tolerance=-1.0),
        ValueError,
        "tolerance must be at least 0, got -1.0",
    ),
    "tolerance-nan": (
        lambda: Autoregressive(MADE_3, tolerance=float("nan")),
        ValueError,
        "tolerance must be at least 0, got nan",
    ),
    "tolerance-text": (lambda: Autoregressive(MADE_3, tolerance="1e-3"), TypeError, "tolerance"),
    "features-linear": (lambda: LULinear(0), ValueError, "features must be at least 1, got 0"),
    "features-rotation": (lambda: Rotation(2.0), TypeError, "features must be an integer, got 2.0"),
    "features-actnorm": (lambda: ActNorm(0), ValueError, "features must be at least 1, got 0"),
    "features-batchnorm": (
        lambda: BatchNorm(-1),
        ValueError,
        "features must be at least 1, got -1",
    ),
    "features-sigmoid": (lambda: Sigmoid(0), ValueError, "features must be at least 1, got 0"),
    "features-softplus": (lambda: Softplus("3"), TypeError, "features must be an integer, got '3'"),
    "features-coupling": (lambda: Coupling(0), ValueError, "features must be at least 1, got 0"),
    "features-perceptron": (
        lambda: Perceptron(0, (0.0,)),
        ValueError,
        "features must be at least 1",
    ),
    "context-perceptron": (
        lambda: Perceptron(3, (0.0,), context=-1),
        ValueError,
        "context must be at least 0, got -1",
    ),
    "activation-perceptron": (
        lambda: Coupling(3, activation="step"),
        ValueError,
        "activation must be one of .*'relu'.*got 'step'",
    ),
    "width-coupling": (
        lambda: Coupling(3, hidden_features=(8, 0)),
        ValueError,
        r"hidden_features\[1\] must be at least 1, got 0",
    ),
    "coupling-one-feature": (
        lambda: Coupling(1),
        ValueError,
        "features must be at least 2 for a coupling, got 1: for a single feature use",
    ),
    "coupling-one-feature-mask": (
        lambda: Coupling(1, mask=[True]),
        ValueError,
        "features must be at least 2 for a coupling",
    ),
    "coupling-univariate": (
        lambda: Coupling(3, "cubic"),
        ValueError,
        "univariate must be one of .*'affine'.*got 'cubic'",
    ),
    "mask-name": (
        lambda: Coupling(3, mask="thirds"),
        ValueError,
        "mask must be one of 'alternating', 'halves', got 'thirds'",
    ),
    "mask-all": (
        lambda: Coupling(3, mask=[True] * 3),
        ValueError,
        "mask must keep some features and change some, got one that keeps 3",
    ),
    "mask-none": (
        lambda: Coupling(3, mask=[False] * 3),
        ValueError,
        "mask must keep some features and change some, got one that keeps 0",
    ),
    "mask-short": (
        lambda: Coupling(3, mask=[True, False]),
        ValueError,
        r"mask must have shape \(3,\), got \(2,\)",
    ),
    "mask-matrix": (
        lambda: Coupling(3, mask=torch.tensor([[True, False, True]])),
        ValueError,
        r"mask must have shape \(3,\), got \(1, 3\)",
    ),
    "mask-integers": (
        lambda: Coupling(3, mask=[1, 0, 1]),
        TypeError,
        r"mask must be a name or a sequence of booleans, got \[1, 0, 1\]",
    ),
    "mask-type": (lambda: Coupling(3, mask=None), TypeError, "mask must be a name or a sequence"),
    "masks-name": (lambda: masks("thirds", 3, 2), ValueError, "mask must be one of"),
    "masks-features": (lambda: masks("halves", 1, 2), ValueError, "features must be at least 2"),
    "masks-count": (lambda: masks("halves", 3, 0), ValueError, "count must be at least 1, got 0"),
    "linear-order-name": (
        lambda: LULinear(3, "sideways"),
        ValueError,
        "order must be one of 'random', 'reverse', 'same', got 'sideways'",
    ),
    "linear-order-repeats": (
        lambda: LULinear(3, [0, 0, 1]),
        ValueError,
        r"order must be a permutation of 0 .. 2, got \[0, 0, 1\]",
    ),
    "linear-order-float": (
        lambda: LULinear(2, [0.0, 1.0]),
        TypeError,
        r"order\[0\] must be an integer, got 0.0",
    ),
    "epsilon-zero": (lambda: BatchNorm(3, epsilon=0.0), ValueError, "epsilon must be positive"),
    "epsilon-infinite": (lambda: BatchNorm(3, epsilon=math.inf), ValueError, "epsilon must be"),
    "epsilon-nan": (lambda: BatchNorm(3, epsilon=float("nan")), ValueError, "epsilon must be"),
    "epsilon-text": (lambda: BatchNorm(3, epsilon="1"), TypeError, "epsilon must be a number"),
    "momentum-zero": (
        lambda: BatchNorm(3, momentum=0.0),
        ValueError,
        "momentum must be above 0 and at most 1, got 0.0",
    ),
    "momentum-large": (lambda: BatchNorm(3, momentum=1.5), ValueError, "momentum.*got 1.5"),
    "momentum-none": (lambda: BatchNorm(3, momentum=None), TypeError, "momentum must be a number"),
    "low-infinite": (
        lambda: Sigmoid(3, low=-float("inf")),
        ValueError,
        "low must be finite, got -inf",
    ),
    "high-nan": (lambda: Sigmoid(3, high=float("nan")), ValueError, "high must be finite, got nan"),
    "high-text": (lambda: Sigmoid(3, high="1"), TypeError, "high must be a number, got '1'"),
    "bounds-order": (
        lambda: Sigmoid(3, low=1.0, high=1.0),
        ValueError,
        "high must be greater than low=1.0, got 1.0",
    ),
    "low-softplus": (lambda: Softplus(3, float("inf")), ValueError, "low must be finite, got inf"),
    "low-text-softplus": (lambda: Softplus(3, low="0"), TypeError, "low must be a number, got '0'"),
    "compose-nothing": (lambda: Compose([]), ValueError, "transforms must contain at least one"),
    "compose-module": (
        lambda: Compose([Elementwise(3), torch.nn.Linear(3, 3)]),
        TypeError,
        r"transforms\[1\] must be a Transform, got Linear",
    ),
    "compose-features": (
        lambda: Compose([Elementwise(3), Elementwise(4)]),
        ValueError,
        r"transforms must all have 3 features, got 4 in transforms\[1\]",
    ),
    "compose-contexts": (
        lambda: Compose([Elementwise(3, context=1), Elementwise(3, context=2)]),
        ValueError,
        r"transforms must share one context size, got \[1, 2\]",
    ),
    "checkpoint-text": (
        lambda: IAF(3, checkpoint="yes"),
        TypeError,
        "checkpoint must be True or False, got 'yes'",
    ),
    "compose-one": (lambda: Compose(Elementwise(3)), TypeError, "transforms"),
    "inverse-module": (
        lambda: Inverse(torch.nn.Linear(3, 3)),
        TypeError,
        "transform must be a Transform, got Linear",
    ),
    "features-planar": (lambda: Planar(0), ValueError, "features must be at least 1, got 0"),
    "features-radial": (lambda: Radial(2.0), TypeError, "features must be an integer, got 2.0"),
    "features-householder": (lambda: Householder(0), ValueError, "features must be at least 1"),
    "features-sylvester": (lambda: Sylvester("3"), TypeError, "features must be an integer"),
    "context-planar": (lambda: Planar(3, context=-1), ValueError, "context must be at least 0"),
    "context-radial": (lambda: Radial(3, context=1.0), TypeError, "context must be an integer"),
    "reflections": (lambda: Householder(3, 0), ValueError, "reflections must be at least 1, got 0"),
    "reflections-basis": (lambda: Reflected(1.5), TypeError, "reflections must be an integer"),
    "reverse": (lambda: Permuted("yes"), TypeError, "reverse must be True or False, got 'yes'"),
    "columns-zero": (lambda: Sylvester(3, 0), ValueError, "columns must be at least 1, got 0"),
    "columns-float": (lambda: Sylvester(3, 2.0), TypeError, "columns must be an integer, got 2.0"),
    "columns-many": (lambda: Sylvester(3, 4), ValueError, "columns must be at most.* 3, got 4"),
    "basis-name": (
        lambda: Sylvester(3, 2, "cayley"),
        ValueError,
        "basis must be one of 'householder', 'orthogonal', 'triangular', got 'cayley'",
    ),
    "flow-module": (
        lambda: Flow(torch.nn.Linear(3, 3)),
        TypeError,
        "transform must be a Transform, got Linear",
    ),
    "flow-base": (
        lambda: Flow(Elementwise(3), torch.distributions.Normal(0, 1)),
        TypeError,
        "base must be a name, a mapping or a Base, got Normal",
    ),
    "flow-base-features": (
        lambda: Flow(Elementwise(3), StandardNormal(2)),
        ValueError,
        "base must have 3 features, got 2",
    ),
}


@pytest.mark.parametrize(("build", "error", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_bad_argument(build: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


def test_dtype_may_differ_under_autocast_only() -> None:
    flow = IAF(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(TypeError, match="z must have the module's dtype"):
            flow.transform(X.double())
        assert flow.transform(X.bfloat16())[0].dtype == torch.bfloat16
    with pytest.raises(TypeError, match="z must have the module's dtype"):
        flow.transform(X.bfloat16())
