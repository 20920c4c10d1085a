"""The common base of a flow's parts, which keeps them consistent.

A part is built from sizes and options, and holds tensors. Its sizes are fixed once it is built. A
part can be replaced by one of the same sizes; tensors that follow from the sizes are recomputed
wherever the part is moved; and tensors are checked when they are loaded.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from invflow import _checks

_SIZES = ("features", "context", "outputs")


class Part(nn.Module):
    """A module that a flow is made of: a transform, a conditioner, a base, a flow itself."""

    #: Attributes that are fixed once a part is built.
    settled: ClassVar[frozenset[str]] = frozenset(_SIZES)

    def __init__(self) -> None:
        super().__init__()
        # After its own parts, whose tensors determine where the constants belong.
        self.register_load_state_dict_post_hook(_loaded)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.

        Raises:
            AttributeError: if it cannot be changed once the part is built.
            TypeError: if a part or a tensor would be replaced by something else.
            ValueError: if the new one has other sizes, or does not fit there.
        """
        own = vars(self)
        if name in own:
            if name in self.settled and value != own[name]:
                raise AttributeError(
                    f"{name} of {type(self).__name__} cannot be changed after it is built: "
                    f"build another one with {name}={value!r}"
                )
        elif (part := own.get("_modules", {}).get(name)) is not None:
            _check_part(name, part, value)
        elif name in own.get("_buffers", {}) and isinstance(
            value, Tensor
        ):  # otherwise PyTorch rejects it
            buffer = own["_buffers"][name]
            if buffer is not None and value.shape != buffer.shape:
                shapes = tuple(buffer.shape), tuple(value.shape)
                raise ValueError(f"{name} must have shape {shapes[0]}, got {shapes[1]}")
            _check_tensor(self, name, name, value, value)
        super().__setattr__(name, cast(Any, value))

    def constants(self) -> Mapping[str, Tensor]:
        """Return the tensors that follow from the sizes, by the names of their buffers."""
        return {}

    def flaw(self, name: str, tensor: Tensor) -> str | None:
        """Return what is wrong with a tensor of the right shape as this parameter or buffer."""
        return None

    def keep_constants(self) -> None:
        """Register the `constants` as buffers that are not saved."""
        for name, tensor in self.constants().items():
            self.register_buffer(name, tensor, persistent=False)

    def _renew(self, lost: Callable[[str, Tensor, Tensor], bool]) -> None:
        """Recompute the constants that are `lost`, with the device and precision of another tensor.

        Args:
            lost: whether a constant is, given its name, its present value, and that other tensor.
        """
        first = next((own for _, _, own, _ in _tensors(self, "")), None)
        anew: dict[str, tuple[torch.device, torch.dtype]] = {}
        for name in self._non_persistent_buffers_set:
            if (now := self._buffers[name]) is not None:
                like = now if first is None else first
                if lost(name, now, like):
                    anew[name] = like.device, _precision(now, like)
        for name, tensor in self.constants().items() if anew else ():
            if name in anew:
                self._buffers[name] = tensor.to(*anew[name])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the part, and recompute constants that `to_empty` left without values."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        self._renew(lambda name, now, _: not _same(before[name], now))
        return self

    def _load_from_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        *rest: Any,
    ) -> None:
        """Load tensors.

        Raises:
            TypeError: if one is of another kind, such as integers for weights.
            ValueError: if one is not finite, or does not fit there.
        """
        assign = local_metadata.get("assign_to_params_buffers", False)
        for part, name, own, key in _tensors(self, prefix):
            given = state_dict.get(key)
            if isinstance(given, Tensor) and given.shape == own.shape:
                _check_tensor(part, name, key, given, given if assign else own)
        super()._load_from_state_dict(  # pyright: ignore[reportUnknownMemberType]
            state_dict, prefix, local_metadata, *rest
        )


def _loaded(part: nn.Module, _: Any) -> None:
    """Move the constants to where tensors were assigned (rather than copied)."""
    cast(Part, part)._renew(
        lambda _, now, like: (now.device, now.dtype) != (like.device, _precision(now, like))
    )


def _precision(constant: Tensor, like: Tensor) -> torch.dtype:
    """Return a constant's dtype, given another tensor."""
    both = constant.is_floating_point() and like.is_floating_point()
    return like.dtype if both else constant.dtype


def _same(before: Tensor | None, after: Tensor) -> bool:
    """Whether a tensor still has its values, on another device or in another precision."""
    if before is None or before.is_meta or after.is_meta:
        return False
    if type(before) is not type(after):  # fake tensors have no values
        return True
    return torch.equal(before, after.to(before.device, before.dtype))


def _tensors(part: Part, prefix: str) -> Iterator[tuple[nn.Module, str, Tensor, str]]:
    """Yield the module, name, tensor and key of everything that will be loaded into a part."""
    for path, module in part.named_modules(prefix=prefix.removesuffix(".")):
        for name, own in (*module._parameters.items(), *module._buffers.items()):
            if own is not None and name not in module._non_persistent_buffers_set:
                yield module, name, own, f"{path}.{name}".removeprefix(".")


def _check_part(name: str, before: nn.Module, after: Any) -> None:
    """Check that a part can replace another."""
    if not isinstance(before, Part):
        return
    kinds = type(before).__mro__
    contract = kinds[kinds.index(Part) - 1]
    if not isinstance(after, contract):
        raise TypeError(f"{name} must be a {contract.__name__}, got {type(after).__name__}")
    for size in _SIZES:
        wanted, found = getattr(before, size, None), getattr(after, size, None)
        if wanted != found:
            raise ValueError(f"{name} must have {size}={wanted}, as before, got {found}")


def _check_tensor(part: nn.Module, name: str, key: str, given: Tensor, own: Tensor) -> None:
    """Check that a tensor can replace `own`, a parameter or buffer with this name."""
    before = (part._parameters | part._buffers)[name]
    before = given if before is None else before
    if _kind(given) != _kind(before) or given.layout is not before.layout:
        raise TypeError(f"{key} must hold {_kind(before)}, got {given.dtype} ({given.layout})")
    if not _checks.has_values(given):
        return
    value = given.detach().to(own.dtype)
    # A sum is faster to check, and is finite only if all entries are.
    summed = value.is_floating_point() and bool(torch.isfinite(value.sum()))
    if value.is_floating_point() and not (summed or bool(torch.isfinite(value).all())):
        count = int((~torch.isfinite(value)).sum())
        raise ValueError(
            f"{key} must be finite in {own.dtype}, got {count} NaN or infinite entries "
            f"out of {value.numel()}"
        )
    if isinstance(part, Part) and (flaw := part.flaw(name, value)):
        raise ValueError(f"{key} {flaw}")


def _kind(tensor: Tensor) -> str:
    if tensor.is_floating_point():
        return "floating-point numbers"
    if tensor.is_complex():
        return "complex numbers"
    return "booleans" if tensor.dtype == torch.bool else "integers"
