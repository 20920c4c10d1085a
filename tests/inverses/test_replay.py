"""The gradient of a sweep for conditioners without a reverse sweep, on the smallest there is."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from invflow.conditioners import CONDITIONERS, CachedConditioner, Plan, RecordingDecoder
from invflow.transforms import Autoregressive
from invflow.univariate import Gated
from tests.helpers import assert_close, gradients, perturbed, randn


class Memory(CachedConditioner):
    """Parameters are linear in a state that starts from the context: s = tanh(s / 2 + w z)."""

    def __init__(self, features: int, start: Sequence[float], context: int = 0) -> None:
        super().__init__(features, len(start), context)
        self.read = nn.Parameter(torch.ones(4))
        self.out = nn.Parameter(torch.zeros(len(start), 4))
        self.bias = nn.Parameter(torch.tensor(start))
        self.context_weight = nn.Parameter(torch.zeros(4, context))
        self.plan = MemoryPlan()

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        state = z.new_zeros(*z.shape[:-1], 4)
        if context is not None:
            state = state + context @ self.context_weight.T
        params = []
        for value in z.unbind(-1):
            params.append(state @ self.out.T + self.bias)
            state = torch.tanh(state / 2 + self.read * value.unsqueeze(-1))
        return torch.stack(params, -2)

    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        offset = self.read.new_zeros(*batch, 4)
        if context is not None:
            offset = offset + context @ self.context_weight.T
        return offset.reshape(-1, 4).t(), [self.read, self.out, self.bias]

    @classmethod
    def plan_from(cls, recipe: str) -> Plan:
        return MemoryPlan()


class MemoryPlan(Plan):
    @property
    def recipe(self) -> str:
        return json.dumps({})

    def decoder(self, offset: Tensor, weights: list[Tensor]) -> MemoryDecoder:
        return MemoryDecoder(offset, weights)


class MemoryDecoder(RecordingDecoder):
    def __init__(self, offset: Tensor, weights: list[Tensor]) -> None:
        super().__init__(offset)
        self.state = offset
        self.read, self.out, self.bias = weights

    def _parameters(self, group: int) -> Tensor:
        return self.out @ self.state + self.bias.unsqueeze(1)

    def append(self, group: int, z: Tensor) -> None:
        self.state = torch.tanh(self.state / 2 + self.read.unsqueeze(1) * z)


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONDITIONERS, "memory", Memory)


def _transform(inverse: str, context: int, univariate: str = "affine") -> Autoregressive:
    start = (0.0, 0.0) if univariate == "affine" else Gated().start
    return perturbed(Autoregressive(Memory(5, start, context), univariate, inverse=inverse))


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("univariate", ["affine", "gated"])
@pytest.mark.parametrize("of", ["value", "ladj", "both"])
def test_gradients_are_those_of_the_passes(context: int, univariate: str, of: str) -> None:
    x, c = randn(2, 3, 5), randn(3, context, seed=2) if context else None
    found = []
    for inverse in ("cached", "passes"):
        transform = _transform(inverse, context, univariate)
        inputs = [x.clone().requires_grad_()] + ([] if c is None else [c.clone().requires_grad_()])
        value, ladj = transform.inverse(*inputs)
        # Without a context its weights are empty, and have empty gradients.
        weights = [p for p in transform.parameters() if p.numel()]
        found.append([value, ladj, *gradients(value, ladj, [*inputs, *weights], of)])
    assert_close(found[0], found[1], 1e-11)


def test_func_transforms() -> None:
    transform, reference = (_transform(inverse, 0) for inverse in ("cached", "passes"))
    x = randn(3, 5)

    def inverse(of: Autoregressive, x: Tensor) -> Tensor:
        return of.inverse(x)[0]

    for function in (torch.func.jacrev, lambda f, argnums: torch.func.vmap(f, (None, 0))):
        found = [function(inverse, argnums=1)(of, x) for of in (transform, reference)]
        assert_close(found[0], found[1], 1e-11)

    def loss(of: Autoregressive, weights: dict[str, Tensor], x: Tensor) -> Tensor:
        class Inverted(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.of = of

            def forward(self, x: Tensor) -> Tensor:
                z, ladj = self.of.inverse(x)
                return z.sin().sum() + ladj.sum()

        return torch.func.functional_call(Inverted(), weights, (x,))

    per_sample = []
    for of in (transform, reference):
        weights = {f"of.{k}": v.detach() for k, v in of.named_parameters() if v.numel()}
        each = torch.func.vmap(torch.func.grad(loss, argnums=1), (None, None, 0))
        per_sample.append(each(of, weights, x))
    assert_close(per_sample[0], per_sample[1], 1e-11)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_compiles_without_a_break() -> None:
    transform = _transform("cached", 2)
    x, c = randn(3, 5).requires_grad_(), randn(3, 2)
    compiled = torch.compile(transform.inverse, fullgraph=True, backend="aot_eager")
    for run in (compiled, transform.inverse):
        value, ladj = run(x, c)
        found = gradients(value, ladj, [x, *transform.parameters()])
        if run is compiled:
            first = [value, ladj, *found]
    assert_close(first, [value, ladj, *found], 1e-11)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_gradient_inside_what_is_compiled() -> None:
    """Its first run is under a dispatch mode, with which torch checks operators."""
    transform, x = _transform("cached", 0), randn(3, 5)

    def run(x: Tensor) -> Tensor:
        return torch.func.grad(lambda x: transform.inverse(x)[0].sin().sum())(x)

    torch._dynamo.reset()
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        assert_close(compiled(x), run(x), 1e-11)


def test_gradient_under_a_dispatch_mode() -> None:
    transform, x = _transform("cached", 0), randn(3, 5).requires_grad_()
    expected = torch.autograd.grad(transform.inverse(x)[0].sin().sum(), x)
    with FlopCounterMode(display=False):
        found = torch.autograd.grad(transform.inverse(x)[0].sin().sum(), x)
    assert_close(found, expected, 1e-12)


def test_second_derivatives_are_refused() -> None:
    x = randn(5).requires_grad_()
    (first,) = torch.autograd.grad(
        _transform("cached", 0).inverse(x)[0].sin().sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match='inverse="passes"'):
        first.sum().backward()
