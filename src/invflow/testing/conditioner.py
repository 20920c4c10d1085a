"""The properties of conditioners."""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
from torch import Tensor

from invflow.conditioners import CachedConditioner, Conditioner
from invflow.inverses import cached
from invflow.testing import call, properties
from invflow.testing.call import Call
from invflow.transforms import Autoregressive
from invflow.univariate import Univariate


def check_conditioner(conditioner: Conditioner) -> None:
    """Check that a conditioner has the properties that flows rely on.

    They are: shapes and dtypes; batch elements do not affect each other; calls change nothing; the
    parameters of a group depend neither on its own features nor on later ones; a declared context
    is read, by the parameters of the first feature too, and any other is refused; gradients are
    right; saving and loading restore everything. With a cached inverse, also: the decoder gives
    the same parameters as `forward`, and the gradient of the inverse is the right one.

    A conditioner need not read all earlier features.

    Args:
        conditioner: of any size; a copy of it is perturbed and checked.

    Raises:
        AssertionError: if a property fails; the message says which, and by how much.
        TypeError: if `conditioner` is not a `Conditioner`.

    Example:
        >>> from invflow.conditioners import LSTM
        >>> check_conditioner(LSTM(3, (0.0, 0.0), (5,), context=2))
    """
    if not isinstance(conditioner, Conditioner):
        raise TypeError(f"conditioner must be a Conditioner, got {type(conditioner).__name__}")
    kind, subject = type(conditioner), Call.of(conditioner)
    properties.check(kind, (call.shapes, call.single_precision, call.repeated_calls), [subject])
    properties.check(kind, (call.batch_elements, _causality, call.contexts), [subject])
    properties.check(kind, (_reach_of_context, call.gradients, call.saving), [subject])
    if isinstance(conditioner, CachedConditioner) and not cached.refusal(conditioner):
        properties.check(kind, (_decoder, _cached_inverse), [subject])


#: What a conditioner that is not causal breaks.
_CAUSAL = "the inverse takes one group of features after another, and cannot know later ones"


def _causality(subject: Call) -> None:
    """Check it in one batch, of which row k is for the parameters of group k."""
    part = cast(Conditioner, subject.part)
    sizes, rows = torch.tensor(part.groups), torch.arange(len(part.groups))
    group = rows.repeat_interleave(sizes)
    own, known = group == rows.unsqueeze(1), group < rows.unsqueeze(1)
    for seed in (0, 1):
        z = subject.values(1, seed=seed).repeat(len(rows), 1).requires_grad_()
        own, known, context = own.to(z.device), known.to(z.device), subject.context(1, seed=seed)
        (params,) = subject(z, context)
        (slopes,) = properties.gradient(properties.combined([params[own]]), [z])
        leaks = ((slopes != 0) & ~known).nonzero()
        if len(leaks):
            row, feature = (int(each) for each in leaks[0])
            raise AssertionError(
                f"the parameters of feature {sum(part.groups[:row])} depend on feature {feature}, "
                f"with derivative {slopes[row, feature]:.2g} instead of exactly 0: {_CAUSAL}"
            )
        moved = torch.where(known, z.detach(), subject.values(1, seed=seed + 5))
        properties.close(
            "the parameters of a feature change with features that are not before its group,",
            subject(moved, context)[0][own],
            params[own],
            _CAUSAL,
            at=lambda place: f" at feature {place[0]}",
        )


def _reach_of_context(subject: Call) -> None:
    """Check it in one batch, of which row i is for the parameters of feature i."""
    features = subject.part.features
    if not subject.part.context:
        return
    reached = torch.zeros(features, dtype=torch.bool)
    for seed in range(3):  # units can be inactive at one point
        z = subject.values(1, seed=seed).expand(features, -1)
        context = cast(Tensor, subject.context(1, seed=seed)).repeat(features, 1).requires_grad_()
        (params,) = subject(z, context)
        (slopes,) = properties.gradient(properties.combined([params.diagonal()]), [context])
        reached |= (slopes != 0).any(1).cpu()
    if not reached.all():
        raise AssertionError(
            f"the parameters of feature {int(reached.int().argmin())} do not depend on the context:"
            " it must reach every feature, also the first"
        )


def _decoder(subject: Call) -> None:
    part = cast(CachedConditioner, subject.part)
    found = tuple(part.plan.groups(part.features))
    if found != part.groups:
        raise AssertionError(f"plan.groups must give the groups {part.groups}, got {found}")
    z, context = subject.values(2, 3), subject.context(2, 3)
    with torch.no_grad():
        expected = subject(z, context)[0].flatten(0, 1).flatten(1).t()
        decoder = part.plan.decoder(*part.pack((2, 3), context))
        first = 0
        for group, values in enumerate(z.flatten(0, 1).t().split(list(part.groups))):
            last = first + len(values) * part.outputs
            params = decoder.parameters(group).clone()
            properties.shaped(
                "what the decoder gives", params, (last - first, values.shape[1]), values.dtype
            )
            decoder.append(group, values)
            properties.close(
                f"the decoder's parameters of group {group} differ from those of forward",
                params,
                expected[first:last],
                "the cached inverse would be that of another flow",
            )
            first = last


@dataclasses.dataclass(frozen=True)
class _Probe(Univariate):
    """An affine map of any number of parameters, which all move both its shift and its scale."""

    size: int

    @property
    def start(self) -> tuple[float, ...]:
        return (0.0,) * self.size

    def _both(self, params: Tensor) -> tuple[Tensor, Tensor]:
        shares = torch.linspace(1, 2, self.size, dtype=params.dtype, device=params.device)
        mean = params * shares / self.size
        return mean.sum(-1), 0.5 * torch.tanh(mean * shares).sum(-1) / self.size

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._both(params)
        return shift + log_scale.exp() * z, log_scale.expand_as(z)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._both(params)
        return (x - shift) * torch.exp(-log_scale), -log_scale.expand_as(x)


def _cached_inverse(subject: Call) -> None:
    part = cast(Conditioner, subject.part)
    names = [name for name, each in part.named_parameters() if each.requires_grad and each.numel()]
    x, context = subject.values(3), subject.context(3)
    inputs = [x, *([] if context is None else [context]), *map(part.get_parameter, names)]
    found: dict[str, list[Tensor]] = {}
    for inverse in ("cached", "passes"):
        transform = Autoregressive(part, _Probe(part.outputs), inverse=inverse)
        for each in inputs:
            each.requires_grad_()
        z, ladj = transform.inverse(x, context)
        found[inverse] = [z, *properties.gradient(properties.combined([z, ladj]), inputs)]
    of = ["x", *([] if context is None else ["the context"]), *names]
    whats = ["", *(f"the gradient with respect to {each} of " for each in of)]
    for what, one, other in zip(whats, found["cached"], found["passes"], strict=True):
        properties.close(
            f"{what}the cached inverse differs from that of whole passes",
            one,
            other,
            "the sequential direction would be trained with wrong gradients",
            tolerance=1e-8,
        )
