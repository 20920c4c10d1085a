"""The library's conditioners pass; those that lack a property are refused, and it is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow.conditioners import (
    LSTM,
    MADE,
    Conditioner,
    Guided,
    Perceptron,
)
from invflow.testing import check_conditioner
from tests.helpers import generator, randn
from tests.inverses.test_replay import Memory, MemoryDecoder, MemoryPlan

START = (0.3, -0.2, 0.1)


class Window(Conditioner):
    """The parameters of a feature from the feature before it alone, as of a Markov chain."""

    def __init__(self, features: int = 4, context: int = 0, group: int = 1) -> None:
        super().__init__(features, len(START), context, group)
        self.network = Perceptron(1, START, (5,), context, activation="tanh")

    def read(self, z: Tensor) -> Tensor:
        return F.pad(z, (1, 0))[..., :-1]

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        each = None if context is None else context[..., None, :]
        return self.network(self.read(z)[..., None], each)


@pytest.mark.parametrize(
    "conditioner",
    [
        Window(1),
        Window(),
        Window(context=2),
        Memory(5, START),
        Memory(1, START),
        Guided(MADE(3, START, (5,), context=2), randn(2).float(), 0.5),
    ],
    ids=lambda each: type(each).__name__,
)
def test_others_pass_too(conditioner: Conditioner) -> None:
    """A conditioner need not read all features before its own, and need not have a decoder."""
    check_conditioner(conditioner)


class Own(Window):
    """Reads the feature itself."""

    def read(self, z: Tensor) -> Tensor:
        return z


class Backwards(Window):
    def read(self, z: Tensor) -> Tensor:
        return F.pad(z, (0, 1))[..., 1:]


class Secret(Window):
    """Depends on later features in a way that autodiff does not see."""

    def read(self, z: Tensor) -> Tensor:
        return super().read(z) + z.detach().sum(-1, keepdim=True)


class Flat(Window):
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(z, context).flatten(-2)


class Double(Window):
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(z, context).double()


class Unregistered(Window):
    """A weight that is an ordinary attribute, and stays in single precision."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.tensor([2.0])

    def read(self, z: Tensor) -> Tensor:
        return F.linear(super().read(z)[..., None], self.gain[:, None]).squeeze(-1)


class OverBatch(Window):
    def read(self, z: Tensor) -> Tensor:
        read = super().read(z)
        return read - read.mean(0, keepdim=True) if z.ndim > 1 and z.numel() else read


class Careless(Window):
    def read(self, z: Tensor) -> Tensor:
        return super().read(z.clamp_(-0.5, 0.5) if not z.requires_grad else z)


class Noisy(Window):
    def read(self, z: Tensor) -> Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return super().read(z) + 0.1 * self.calls


class Counting(Window):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def read(self, z: Tensor) -> Tensor:
        self.get_buffer("count").add_(1)
        return super().read(z)


class DropsContext(Window):
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(
            z, None if context is None else context * torch.tensor([1.0, 0]).to(z)
        )


class IgnoresContext(Window):
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(z)


class LateContext(Window):
    """The context does not reach the first feature."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        assert context is not None
        late, first = super().forward(z, context), super().forward(z, torch.zeros_like(context))
        return torch.cat([first[..., :1, :], late[..., 1:, :]], -2)


class NoBroadcast(Window):
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        assert context is not None
        if context.ndim < z.ndim:
            context = context.flip(-1)
        return super().forward(z, context)


class Cut(Window):
    """The gradient to what is read is lost."""

    def read(self, z: Tensor) -> Tensor:
        return super().read(z).detach()


class Frozen(Window):
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return super().forward(z, context)


class Unsaved(Window):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand((), generator=generator(1)), persistent=False)

    def read(self, z: Tensor) -> Tensor:
        return super().read(z) * self.get_buffer("scale")


class Reset(Window):
    """Loses a part of its state whenever it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 2.0
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "scale", 1.0))

    def read(self, z: Tensor) -> Tensor:
        return super().read(z) * self.scale


class Remembering(Memory):
    """`Memory` with a plan of its own."""

    made: type[MemoryPlan]

    def __init__(self) -> None:
        super().__init__(4, START)
        vars(self)["plan"] = self.made()


class OtherGroupsPlan(MemoryPlan):
    def groups(self, features: int) -> Sequence[int]:
        return (features,)


class OtherGroups(Remembering):
    made = OtherGroupsPlan


class SlowDecoder(MemoryDecoder):
    """Forgets half as fast as `forward`."""

    def append(self, group: int, z: Tensor) -> None:
        self.state = torch.tanh(self.state / 4 + self.read.unsqueeze(1) * z)


class SlowPlan(MemoryPlan):
    def decoder(self, offset: Tensor, weights: list[Tensor]) -> MemoryDecoder:
        return SlowDecoder(offset, weights)


class OtherDecoder(Remembering):
    made = SlowPlan


class OneColumnDecoder(MemoryDecoder):
    def _parameters(self, group: int) -> Tensor:
        return super()._parameters(group)[:, :1]


class OneColumnPlan(MemoryPlan):
    def decoder(self, offset: Tensor, weights: list[Tensor]) -> MemoryDecoder:
        return OneColumnDecoder(offset, weights)


class OneColumn(Remembering):
    made = OneColumnPlan


class CutDecoder(MemoryDecoder):
    def append(self, group: int, z: Tensor) -> None:
        super().append(group, z.detach())


class CutPlan(MemoryPlan):
    def decoder(self, offset: Tensor, weights: list[Tensor]) -> MemoryDecoder:
        return CutDecoder(offset, weights)


class CutSweep(Remembering):
    made = CutPlan


_CAUSAL = "the inverse takes one group of features after another"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Own(), f"the parameters of feature 0 depend on feature 0, with derivative .*: {_CAUSAL}"),
        (Own(1), "feature 0 depend on feature 0, with derivative .* instead of exactly 0"),
        (Backwards(), "feature 0 depend on feature 1, with derivative"),
        (Window(group=2), "feature 0 depend on feature 0, with derivative"),
        (Secret(), "change with features that are not before its group, by .* at feature 2"),
        (Flat(), r"the parameters must have shape \(4, 3\), got \(12,\)"),
        (Double(), "the parameters must have the dtype of the input, torch.float32, got torch.f"),
        (Unregistered(), "raises RuntimeError in the check of shapes"),
        (OverBatch(), "for one batch element alone differs from that in a batch by"),
        (Careless(), "forward changes its arguments in place"),
        (Noisy(), "a second call with the same arguments differs by 0.*in evaluation mode"),
        (Counting(), "changes count in evaluation mode: a density must not change when"),
        (DropsContext(context=2), "forward does not read entry 1 of the context"),
        (IgnoresContext(context=2), "raises ValueError in the check of shapes: context of shape"),
        (IgnoresContext(), "accepts a context although none was declared"),
        (LateContext(context=2), "the parameters of feature 0 do not depend on the context"),
        (NoBroadcast(context=2), r"with a context of batch shape \(\) differs from that with co"),
        (Cut(), "the derivative of forward with respect to z along a random direction is 0 by"),
        (Frozen(), "the derivative of forward with respect to z along a random direction is 0 by"),
        (Unsaved(), "scale is not restored by load_state_dict: register it as a buffer"),
        (Reset(), "the parameters after saving and loading differs by"),
        (OtherGroups(), r"plan.groups must give the groups \(1, 1, 1, 1\), got \(4,\)"),
        (OtherDecoder(), "the decoder's parameters of group 2 differ from those of forward by"),
        (OneColumn(), r"what the decoder gives must have shape \(3, 6\), got \(3, 1\)"),
        (CutSweep(), "the gradient with respect to x of the cached inverse differs from"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Conditioner) else "",
)  # fmt: skip
def test_a_broken_conditioner_is_refused(broken: Conditioner, message: str) -> None:
    with pytest.raises(AssertionError, match=f"^{type(broken).__name__}.*{message}"):
        check_conditioner(broken)


def test_a_reverse_sweep_that_is_wrong_is_refused() -> None:
    made = MADE(4, START, (8,), generator=generator(1))

    class Wrong(type(made.plan)):  # pyright: ignore[reportUntypedBaseClass]
        def gradients(self, *arguments: Any) -> Any:
            offset, weights = super().gradients(*arguments)
            return 2 * offset, weights

    vars(made)["plan"] = Wrong(made.plan.layout)
    with pytest.raises(
        AssertionError, match="the gradient with respect to bias of the cached inverse differs"
    ):
        check_conditioner(made)


def test_a_subclass_whose_sweep_is_not_used_has_only_its_forward_checked() -> None:
    class Mine(LSTM):
        def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
            return 2 * super().forward(z, context)

    check_conditioner(Mine(3, START, (4,)))


def test_neither_the_conditioner_nor_global_state_is_changed() -> None:
    conditioner = LSTM(3, START, (4,), context=2)
    before = {key: each.clone() for key, each in conditioner.state_dict().items()}
    state = torch.get_rng_state()
    with torch.no_grad():
        check_conditioner(conditioner)
    assert torch.equal(torch.get_rng_state(), state)
    assert conditioner.training
    for key, each in conditioner.state_dict().items():
        assert each.dtype == torch.float32
        assert torch.equal(each, before[key])


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="conditioner must be a Conditioner, got Linear"):
        check_conditioner(nn.Linear(2, 2))  # pyright: ignore[reportArgumentType]
