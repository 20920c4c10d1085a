"""Memory that goes from call to call.

A training step keeps megabytes for its backward pass, and frees them at its end. The system clears
fresh memory page by page, which can take longer than the kernels take to fill it.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:  # which takes as long to import as all the rest
    from numpy.typing import NDArray


#: Bytes from which on, and up to which, memory is worth keeping; between the two, it is kept for
#: some six tensors.
LEAST, MOST = 2**18, 2**27
#: What NumPy calls a precision.
NUMBERS = {torch.float32: np.float32, torch.float64: np.float64}
_spare: deque[NDArray[np.uint8]] = deque(maxlen=6)
#: What is lent, each with what takes it back. (`weakref.finalize` takes several times as long.)
_lent: dict[int, weakref.ref[Any]] = {}
_counter = itertools.count()


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return a tensor of undefined numbers on the CPU, in the precision of another.

    Its memory is used again when the tensor and all its views are gone.
    """
    size = math.prod(shape) * like.itemsize
    if not LEAST <= size <= MOST:
        return like.new_empty(shape)
    room = _find(size)
    numbers = np.frombuffer(room, NUMBERS[like.dtype], math.prod(shape)).reshape(shape)
    lent = next(_counter)
    back = _take_back
    _lent[lent] = weakref.ref(numbers, lambda _: back(lent, room))
    return torch.from_numpy(numbers)


def _take_back(
    lent: int,
    room: NDArray[np.uint8],
    # Not looked up by name: the module may be gone when the interpreter ends.
    lent_out: dict[int, weakref.ref[Any]] = _lent,
    spare: deque[NDArray[np.uint8]] = _spare,
) -> None:
    lent_out.pop(lent, None)
    spare.append(room)


def clear() -> None:
    """Give what is spare back to the system."""
    _spare.clear()


def _find(size: int) -> NDArray[np.uint8]:
    """Return spare memory that is not much too large, or fresh one."""
    for _ in range(len(_spare)):
        try:
            room = _spare.popleft()
        except IndexError:  # another thread was quicker
            break
        if size <= room.size <= size + size // 4:
            return room
        _spare.append(room)
    room = torch.empty(size, dtype=torch.uint8, device="cpu")  # by torch, whose profiler counts it
    return room.numpy()
