"""The properties that conditioners and transforms share."""

from __future__ import annotations

import copy
import dataclasses
from itertools import chain
from typing import TypeAlias, cast

import torch
from torch import Tensor
from torch.distributions import transform_to

from invflow.conditioners import Conditioner
from invflow.testing import properties
from invflow.testing.perturbation import perturbed
from invflow.transforms import Transform

#: What is checked.
Checked: TypeAlias = Conditioner | Transform


@dataclasses.dataclass(frozen=True)
class Call:
    """A part in evaluation mode and double precision, and one of its directions.

    Attributes:
        part: a conditioner or a transform.
        name: "forward", or "inverse" of a transform.
    """

    part: Checked
    name: str = "forward"

    @classmethod
    def of(cls, part: Checked, name: str = "forward") -> Call:
        """Return a call of a perturbed copy."""
        return cls(perturbed(copy.deepcopy(part), scale=0.3).eval(), name)

    @property
    def back(self) -> Call:
        """The other direction."""
        return Call(self.part, "inverse" if self.name == "forward" else "forward")

    @property
    def input(self) -> str:
        return "z" if self.name == "forward" else "x"

    @property
    def outputs(self) -> list[str]:
        """The names of the results."""
        if isinstance(self.part, Conditioner):
            return ["the parameters"]
        return [f"the value of {self.name}", f"ladj of {self.name}"]

    def shapes(self, batch: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shapes of the results."""
        features = (*batch, self.part.features)
        if isinstance(self.part, Conditioner):
            return [(*features, self.part.outputs)]
        return [features, batch]

    def __call__(self, value: Tensor, context: Tensor | None) -> list[Tensor]:
        if isinstance(self.part, Conditioner):
            return [self.part(value, context)]
        run = self.part if self.name == "forward" else self.part.inverse
        return list(run(value, context))

    def values(self, *batch: int, seed: int = 0) -> Tensor:
        """Return values that the call takes: random ones in the support; on a circle, in range."""
        part = self.part
        values = properties.randn(*batch, part.features, seed=seed).to(self._device)
        if isinstance(part, Conditioner):
            return values
        values = transform_to(part.domain if self.name == "forward" else part.codomain)(values)
        if part.wraps:
            context = self.context(*batch)
            values = self.back(self(values, context)[0], context)[0]
        return values.detach()

    def context(self, *batch: int, seed: int = 7) -> Tensor | None:
        """Return a context of the declared size; None if there is none."""
        size = self.part.context
        return properties.randn(*batch, size, seed=seed).to(self._device) if size else None

    @property
    def _device(self) -> torch.device:
        tensors = chain(self.part.parameters(), self.part.buffers())
        return next((each.device for each in tensors), torch.device("cpu"))


def shapes(call: Call) -> None:
    """Check the shapes and the dtype of the results, for every kind of batch shape."""
    for batch in properties.BATCHES:
        found = call(call.values(*batch), call.context(*batch))
        for what, each, shape in zip(call.outputs, found, call.shapes(batch), strict=True):
            properties.shaped(what, each, shape, torch.float64)


def single_precision(call: Call) -> None:
    """Check that a part in single precision gives results in single precision."""
    value, context = call.values(5), call.context(5)
    single = Call(copy.deepcopy(call.part).float(), call.name)
    found = single(value.float(), None if context is None else context.float())
    for what, each, shape in zip(call.outputs, found, call.shapes((5,)), strict=True):
        properties.shaped(what, each, shape, torch.float32)


def batch_elements(call: Call) -> None:
    """Check that an element alone has the same results as in a batch."""
    value, context = call.values(2, 3), call.context(2, 3)
    whole = call(value, context)
    alone = call(value[1, 2], None if context is None else context[1, 2])
    for what, found, expected in zip(call.outputs, alone, whole, strict=True):
        properties.close(
            f"{what} for one batch element alone differs from that in a batch",
            found,
            expected[1, 2],
            "elements of a batch must not affect each other",
        )


def repeated_calls(call: Call) -> None:
    """Check that a call changes neither its arguments nor the part, and can be repeated."""
    value, context = call.values(5), call.context(5)
    given = [value] if context is None else [value, context]
    before, state = [each.clone() for each in given], copy.deepcopy(call.part.state_dict())
    first, second = call(value, context), call(value, context)
    properties.unchanged(call.name, before, given)
    for what, one, other in zip(call.outputs, first, second, strict=True):
        if not torch.equal(one, other):
            raise AssertionError(
                f"{what} of a second call with the same arguments differs by "
                f"{float((one - other).detach().abs().max()):.2g}: in evaluation mode a part must "
                "be a fixed function of its arguments"
            )
    changed = [
        key for key, each in call.part.state_dict().items() if not torch.equal(each, state[key])
    ]
    if changed:
        raise AssertionError(
            f"{call.name} changes {changed[0]} in evaluation mode: a density must not change "
            "when it is computed"
        )


def contexts(call: Call) -> None:
    """Check that a declared context broadcasts and is read, and that any other is refused."""
    if not call.part.context:
        _refuses(call)
        return
    value = call.values(2, 3)
    for batch in ((), (3,), (1, 3), (2, 1)):
        context = cast(Tensor, call.context(*batch))
        whole = context.expand(2, 3, -1).contiguous()
        for what, found, expected in zip(
            call.outputs, call(value, context), call(value, whole), strict=True
        ):
            properties.close(
                f"{what} with a context of batch shape {batch} differs from that with copies",
                found,
                expected,
                "a context must broadcast to the batch",
            )
    _reads(call)


def _refuses(call: Call) -> None:
    value, context = call.values(5), properties.randn(5, 2, seed=7)
    try:
        call(value, context.to(value))
    except Exception:
        return
    raise AssertionError(
        f"{call.name} accepts a context although none was declared (context=0): raise a "
        "ValueError, because a context that is ignored goes unnoticed"
    )


def _reads(call: Call) -> None:
    """Check that each entry of the context is read."""
    value, context = call.values(9), cast(Tensor, call.context(9)).requires_grad_()
    (read,) = properties.gradient(properties.combined(call(value, context)), [context])
    missing = (read == 0).all(0).nonzero().flatten().tolist()
    if missing:
        raise AssertionError(
            f"{call.name} does not read entry {missing[0]} of the context: what it says would be "
            "ignored"
        )


def gradients(call: Call) -> None:
    """Check the gradients by the values, the context and the weights."""
    value, context = call.values(3).requires_grad_(), call.context(3)
    weights = [each for each in call.part.parameters() if each.requires_grad and each.numel()]
    inputs = {call.input: [value], "its weights": weights}
    if context is not None:
        inputs["the context"] = [context.requires_grad_()]
    for of, tensors in inputs.items():
        if tensors:
            properties.derivative(
                call.name, of, lambda: properties.combined(call(value, context)), tensors
            )


def saving(call: Call) -> None:
    """Check that the state restores a part that has lost all its tensors."""
    value, context = call.values(5), call.context(5)
    part = copy.deepcopy(call.part).to("meta")
    part.load_state_dict(call.part.state_dict(), assign=True)
    lost = [name for name, each in part.named_buffers() if each.is_meta]
    if lost:
        raise AssertionError(
            f"{lost[0]} is not restored by load_state_dict: register it as a buffer that is saved, "
            "or, if it follows from the sizes, return it from `constants`"
        )
    again = Call(part, call.name)(value, context)
    for what, found, expected in zip(call.outputs, again, call(value, context), strict=True):
        properties.close(
            f"{what} after saving and loading differs",
            found,
            expected,
            "something that the results depend on is not part of the state",
        )
