"""Memory that is reused between calls.

A training step keeps megabytes for its backward pass and frees them at the end. The system clears
new memory page by page, which can take longer than the kernels need to fill it.
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

if TYPE_CHECKING:  # importing it takes as long as all the rest
    from numpy.typing import NDArray


#: Minimum and maximum number of bytes of memory that is kept, for about six tensors.
LEAST, MOST = 2**18, 2**27
#: NumPy's names of the precisions.
NUMBERS = {torch.float32: np.float32, torch.float64: np.float64}
_spare: deque[NDArray[np.uint8]] = deque(maxlen=6)
#: Memory in use, each with its finaliser. (`weakref.finalize` is several times slower.)
_lent: dict[int, weakref.ref[Any]] = {}
_counter = itertools.count()


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return an uninitialised tensor on the CPU, in the precision of another.

    Its memory is reused once the tensor and all its views are gone.
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
    # Bound here, because the module may be gone when the interpreter exits.
    lent_out: dict[int, weakref.ref[Any]] = _lent,
    spare: deque[NDArray[np.uint8]] = _spare,
) -> None:
    lent_out.pop(lent, None)
    spare.append(room)


def clear() -> None:
    """Return spare memory to the system."""
    _spare.clear()


def _find(size: int) -> NDArray[np.uint8]:
    """Return spare memory that is not much too large, or new memory."""
    for _ in range(len(_spare)):
        try:
            room = _spare.popleft()
        except IndexError:  # another thread was faster
            break
        if size <= room.size <= size + size // 4:
            return room
        _spare.append(room)
    room = torch.empty(
        size, dtype=torch.uint8, device="cpu"
    )  # from torch, so that its profiler counts it
    return room.numpy()
