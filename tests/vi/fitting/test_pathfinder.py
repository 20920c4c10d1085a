from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invflow.vi import Flat
from invflow.vi.fitting.normal import Normal, bound, standard
from invflow.vi.fitting.pathfinder import GROWTH, MOST_ITERATIONS, PATH_DRAWS, pathfinder
from invflow.vi.targets.density import Density
from tests.helpers import assert_close, generator, randn
from tests.vi import known


def _density(target: Flat) -> Density:
    return Density(target, generator(0))


def _run(target: Flat, starts: Tensor, frame: Normal | None = None) -> list[Normal | None]:
    where = standard(target.dim) if frame is None else frame
    return pathfinder(_density(target), starts, where, generator(1))


def _only(found: list[Normal | None]) -> Normal:
    (normal,) = found
    assert normal is not None
    return normal


@pytest.mark.parametrize("dim", [1, 2, 5, 20])
def test_the_mode_of_a_gaussian_is_found(dim: int) -> None:
    target, normal = known.correlated(dim, 100.0 if dim > 1 else 1.0)
    found = _only(_run(target, randn(1, dim, seed=3)))
    assert_close(found.location, normal.mean, 0.1)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_inverse_hessian_is_the_covariance(dim: int) -> None:
    """A quasi-Newton method has it after as many steps as there are dimensions."""
    target, normal = known.correlated(dim, 100.0 if dim > 1 else 1.0)
    found = _only(_run(target, randn(1, dim, seed=3)))
    ratio = torch.linalg.solve(normal.covariance_matrix, found.scale @ found.scale.mT)
    assert (torch.linalg.eigvals(ratio).real - 1).abs().max() < 0.3


def test_each_path_is_on_its_own() -> None:
    """A start leads as far beside others as alone; only the noise of the bounds differs."""
    target, starts = known.banana(), 2 * randn(3, 2, seed=5)
    together = _run(target, starts)
    for start, beside in zip(starts, together, strict=True):
        alone = _only(_run(target, start[None]))
        assert beside is not None
        for each in (alone, beside):
            assert bound(_density(target), each, 20_000, generator(2)) > -2.5


def test_the_bound_is_that_of_the_distribution_returned() -> None:
    target, normal = known.correlated(4, 100.0)
    frame = standard(4).placed(normal.mean + 1, torch.diag(torch.tensor([1.0, 2, 3, 4]).double()))
    found = _only(_run(target, randn(1, 4, seed=3), frame))
    exact = bound(_density(target), found, 20_000, generator(4))
    assert exact - 0.5 < found.elbo < exact + 0.1
    assert exact < 1e-3


def test_where_there_is_no_mode() -> None:
    """The funnel's density grows without bound into its neck; its bulk is found nevertheless."""
    assert _only(_run(known.funnel(10), randn(1, 10, seed=3))).elbo > -8


def test_where_the_density_is_finite_nowhere_there_is_nothing() -> None:
    target = Flat(lambda z: z.sum(-1) * torch.nan, 2)
    assert _run(target, randn(3, 2)) == [None, None, None]


def test_starts_where_it_is_not_finite_are_left_out() -> None:
    target = Flat(lambda z: (4 * z.log() - z).sum(-1), 1)
    found = _run(target, torch.tensor([[-1.0], [2.0], [9.0]]).double())
    assert found[0] is None
    for normal in found[1:]:
        assert normal is not None
        assert abs(float(normal.location) - 4.0) < 2.5


def test_a_start_at_the_mode() -> None:
    """Its gradient is zero, so that no step is taken."""
    target = Flat(lambda z: -0.5 * (z - 3).square().sum(-1), 2)
    found = _only(_run(target, torch.full((1, 2), 3.0).double()))
    assert_close(found.location, torch.full((2,), 3.0).double(), 1e-12)
    assert abs(found.elbo - math.log(2 * math.pi)) < 1e-9


def test_a_flat_density_ends() -> None:
    """Towards its supremum the density only rises; the number of iterations is limited."""
    density = _density(Flat(lambda z: -torch.exp(-z).sum(-1), 1))
    pathfinder(density, torch.zeros(1, 1).double(), standard(1), generator(1))
    looks = 1 + math.log(MOST_ITERATIONS) / math.log(GROWTH)
    assert density.evaluations < 2 * MOST_ITERATIONS + PATH_DRAWS * looks


def test_no_more_than_a_step_of_all_paths_for_each_call() -> None:
    """Starts are evaluated in one call of the log density, whatever their number."""
    sizes: list[int] = []

    def counted(z: Tensor) -> Tensor:
        sizes.append(len(z))
        return -0.5 * (z / torch.tensor([1.0, 10.0])).square().sum(-1)

    starts = randn(8, 2, seed=3)
    _run(Flat(counted, 2), starts)
    together = len(sizes)
    sizes.clear()
    for start in starts:
        _run(Flat(counted, 2), start[None])
    assert together < len(sizes) / 3
