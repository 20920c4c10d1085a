from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

from invflow.flows import Preconditioned
from invflow.vi import Flat, Named, Posterior
from invflow.vi.trust.lighter import lighter
from tests.helpers import randn
from tests.vi import known


def flow(dim: int, base: Any = "normal") -> Preconditioned:
    return Preconditioned(
        {"name": "gaussian", "features": dim, "kind": "diagonal", "base": base}
    ).double()


def student(df: float, name: str = "student-t") -> dict[str, Any]:
    return {"name": name, "df": df}


def found(target: Flat, approximation: Preconditioned) -> tuple[float, float] | None:
    with torch.no_grad():
        z = approximation().sample((4000,), generator=torch.Generator().manual_seed(0))
    names = [f"z[{i}]" for i in range(target.dim)]
    said = lighter(target.log_density, approximation().log_prob, z, names)
    return None if said is None else (said.target, said.flow)


@pytest.mark.parametrize("dim", [1, 2, 5, 20])
def test_normal_tails_are_lighter_than_student_t(dim: int) -> None:
    for df in (1.0, 3.0, 10.0):
        own = found(known.heavy(dim, df), flow(dim))
        together = found(known.together(dim, df), flow(dim))
        assert own is not None
        assert together is not None
        assert own[0] == pytest.approx(df + 1, rel=0.02)
        assert together[0] == pytest.approx(df + dim, rel=0.02)
        assert min(own[1], together[1]) > 1000


@pytest.mark.parametrize("dim", [1, 2, 5, 20])
def test_tails_as_heavy_are_not_lighter(dim: int) -> None:
    for df in (1.0, 3.0, 10.0):
        assert found(known.heavy(dim, df), flow(dim, student(df))) is None
        noise = student(df, "multivariate-student-t")
        assert found(known.together(dim, df), flow(dim, noise)) is None
    assert found(known.heavy(dim, 3.0), flow(dim, student(1.0))) is None  # heavier


def test_lighter_by_so_much_that_weights_have_no_variance() -> None:
    """In one dimension the weights of df = a under df = b have a tail of shape (b - a) / b."""
    assert found(known.heavy(1, 2.0), flow(1, student(3.5))) is None
    exponents = found(known.heavy(1, 2.0), flow(1, student(4.5)))
    assert exponents == pytest.approx((3.0, 5.5), rel=0.02)


def test_a_tail_that_holds_nothing_does_not_matter() -> None:
    assert found(known.heavy(3, 40.0), flow(3)) is None


@pytest.mark.parametrize(
    "target", [known.funnel(5), known.banana(), known.bounded(), known.circle()]
)
def test_light_targets(target: Flat) -> None:
    assert found(target, flow(target.dim)) is None


def test_the_verdict_says_along_what() -> None:
    def log_density(a: Tensor, b: Tensor) -> Tensor:
        return -2 * torch.log1p(b.square() / 3) - 0.5 * a.square()

    target = Named(log_density, dict.fromkeys("ab", constraints.real))
    verdict = Posterior(target, flow(2)).diagnose()
    assert "Along b the target falls like r^-4 far out" in str(verdict)
    assert "the flow like a normal distribution" in str(verdict)
    noise: dict[str, Any] = {
        "name": "product",
        "groups": [[0], [1]],
        "bases": ["normal", student(6.0)],
    }
    verdict = Posterior(target, flow(2, noise)).diagnose()
    assert "the flow like r^-7." in str(verdict)
    assert verdict.level == "usable"
    noise["bases"] = ["normal", student(3.0)]
    verdict = Posterior(target, flow(2, noise)).diagnose()
    assert verdict.level == "good"
    assert "Along" not in str(verdict)


def test_angles_have_no_tails() -> None:
    z = randn(500, 2)
    assert lighter(torch.sum, torch.sum, z, ["a", "b"], (0, 1)) is None  # never called
    said = lighter(
        lambda z: -2 * torch.log1p(z[:, 1].square() / 3),
        lambda z: -0.5 * z[:, 1].square(),
        z,
        ["a", "b"],
        (0,),
    )
    assert said is not None
    assert said.along == ["b"]
    assert said.target == pytest.approx(4.0, rel=0.02)
