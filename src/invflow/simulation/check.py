"""Whether simulations can be learned from."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from invflow.simulation.prior import Prior
from invflow.simulation.simulations import Simulations, listed

#: Simulations that a fit needs, so that some decide when to stop.
ENOUGH = 10


def check(simulations: Simulations, prior: Prior, *, are_vectors: bool) -> None:
    """See that simulations can be learned from.

    Args:
        simulations: parameters and data.
        prior: of the parameters.
        are_vectors: whether the data must be vectors of informative summaries.

    Raises:
        ValueError: if they cannot.
    """
    if len(simulations) < ENOUGH:
        raise ValueError(f"simulations must be at least {ENOUGH}, got {len(simulations)}")
    numbers = simulations.parameters.shape[1]
    if numbers != len(prior.names):
        raise ValueError(
            f"simulations must have a column for each number of the prior, {listed(prior.names)}, "
            f"got {numbers}"
        )
    check_names(simulations, prior)
    if bad := _rows(~simulations.is_finite):
        raise ValueError(
            f"simulations must be finite, got NaN or infinity in {_where(bad)}: fix the simulator, "
            "or drop these with simulations.finite() or --invalid drop"
        )
    theta = simulations.parameters
    if bad := _rows(~prior.contains(theta)):
        raise ValueError(
            f"parameters must lie inside the prior, got some outside in {_where(bad)}: the first "
            f"are {_shown(theta[bad[0]], prior)}"
        )
    if bad := _rows(~prior.unconstrain(theta).isfinite().all(-1)):
        raise ValueError(
            f"parameters must not lie on the bound of a half line, got some in {_where(bad)}: the "
            f"first are {_shown(theta[bad[0]], prior)}"
        )
    if bad := _constant(theta, prior.names):
        raise ValueError(f"parameters must vary, got constant in all simulations: {listed(bad)}")
    if not are_vectors or simulations.data.ndim != 2:
        return
    x, names = simulations.data, simulations.summaries
    if bad := _constant(x, names):
        raise ValueError(
            f"summaries must vary, got constant in all simulations: {listed(bad)}; leave these "
            "out, with simulations.without or --drop"
        )
    first: dict[bytes, str] = {}
    for name, column in zip(names, x.T.contiguous().numpy(), strict=True):
        other = first.setdefault(column.tobytes(), name)
        if other != name:
            raise ValueError(
                f"summaries must differ, but {name} is equal to {other} in all simulations: leave "
                "one out, with simulations.without or --drop"
            )


def check_names(simulations: Simulations, prior: Prior) -> None:
    """See that the parameters of simulations are those of a prior, as far as they have names.

    Raises:
        ValueError: if they are not.
    """
    if simulations.names and simulations.names != prior.names:
        raise ValueError(
            f"simulations have the parameters {listed(simulations.names)}, but the prior has "
            f"{listed(prior.names)}: give both in the same order"
        )


def _rows(mask: Tensor) -> list[int]:
    return mask.nonzero()[:, 0].tolist()


def _where(rows: list[int]) -> str:
    return f"{'row' if len(rows) == 1 else f'{len(rows)} rows,'} {listed(rows)}"


def _constant(columns: Tensor, names: Sequence[str]) -> list[str]:
    same = (columns == columns[0]).all(0).tolist()
    return [name for name, each in zip(names, same, strict=True) if each]


def _shown(theta: Tensor, prior: Prior) -> str:
    return ", ".join(
        f"{name} = {value:.6g}" for name, value in zip(prior.names, theta.tolist(), strict=True)
    )
