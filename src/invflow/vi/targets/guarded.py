"""A density of targets that raise errors at extreme points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

from invflow._log_density import BadTarget
from invflow.vi.targets.density import Density


class Guarded(Density):
    """A density that is -inf where the target raises an error, unless it always does.

    A torch distribution refuses a scale that has underflowed to zero, and a Cholesky factorisation
    a matrix that has lost its rank; each refuses the whole batch with it.
    """

    #: The first error that the target raised.
    refusal: Exception | None = None

    def exact(self, z: Tensor) -> Tensor:
        run = super().exact
        return self._by_halves(lambda part: (run(part),), z)[0]

    def scores(self, z: Tensor, *, exact: bool = True) -> tuple[Tensor, Tensor]:
        run = super().scores
        value, score = self._by_halves(lambda part: run(part, exact=exact), z)
        return value, score

    def _by_halves(
        self, run: Callable[[Tensor], tuple[Tensor, ...]], z: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the results of `run`; halve the batch where it raises, down to single points.

        Args:
            run: takes vectors, (any, dim), and returns their values, and perhaps their gradients.
            z: shape (batch, dim).

        Raises:
            ValueError: if the target raises at every point of the first batch.
        """
        refused: list[Tensor] = []

        def halves(part: Tensor) -> tuple[Tensor, ...]:
            try:
                return run(part)
            except BadTarget:
                raise
            except (ValueError, ArithmeticError, LinAlgError) as error:
                self.refusal = self.refusal or error
                if len(part) <= 1:
                    refused.append(part)
                    return torch.full_like(part[:, 0], -torch.inf), torch.zeros_like(part)
                both = [halves(half) for half in part.tensor_split(2)]
                return tuple(torch.cat(results) for results in zip(*both, strict=False))

        found = halves(z)
        if self.refusal is not None and len(refused) == len(z) and not self.evaluations:
            raise self.refusal
        self.evaluations += len(refused)
        self.rejected += len(refused)
        return found
