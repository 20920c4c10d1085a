"""The order of a real Stan program's numbers, and the Jacobians of its constraints."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Dirichlet, Gamma, LKJCholesky, Normal

from invflow.vi import from_stan
from tests.helpers import assert_close, randn

httpstan = pytest.importorskip("httpstan", reason="needs httpstan")

X = randn(4, 3, seed=1)
COUNTS = torch.tensor([[1, 2, 3], [4, 5, 6]])
PSI = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double()
LOWER = torch.tril_indices(2, 2)


def simplex(p: Tensor) -> Tensor:
    """Stick breaking; since Stan 2.37 the inverse of the isometric log ratio."""
    version = Path(httpstan.__file__).with_name("include") / "stan" / "version.hpp"
    (minor,) = re.findall(r"#define STAN_MINOR (\d+)", version.read_text())
    if int(minor) >= 37:
        a, b = p / torch.tensor([2.0, 6.0]).double().sqrt()
        return torch.stack([b + a, b - a, -2 * b]).softmax(0)
    first, second = torch.sigmoid(p - torch.tensor([2.0, 1.0]).double().log())
    return torch.stack([first, (1 - first) * second, (1 - first) * (1 - second)])


def constrained(z: Tensor) -> dict[str, Tensor]:
    """The maps of Stan's reference manual, for one vector."""
    scale, share, p, cut, corr, cov, m, a, c, pair = z.split([1, 1, 2, 3, 3, 3, 6, 12, 2, 3])
    x, y, w = torch.tanh(corr)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rest = (1 - y * y).sqrt()
    factor = torch.stack([torch.stack([cov[0].exp(), zero]), torch.stack([cov[1], cov[2].exp()])])
    return {
        "scale": scale[0].exp(),
        "share": -1 + 3 * torch.sigmoid(share[0]),
        "p": simplex(p),
        "cut": torch.cat([cut[:1], cut[1:].exp()]).cumsum(0),
        "L": torch.stack(
            [
                torch.stack([one, zero, zero]),
                torch.stack([x, (1 - x * x).sqrt(), zero]),
                torch.stack([y, w * rest, (1 - w * w).sqrt() * rest]),
            ]
        ),
        "S": factor @ factor.T,
        "m": m.reshape(3, 2).T,
        "a": a.reshape(2, 3, 2),
        "c.real": c[0],
        "c.imag": c[1],
        "pair:1": pair[0],
        "pair:2": pair[1:],
    }


def free(z: Tensor) -> Tensor:
    """The numbers that a density of the constrained parameters is with respect to."""
    v = constrained(z)
    corr = torch.stack([v["L"][1, 0], v["L"][2, 0], v["L"][2, 1]])
    bounded = [v["scale"][None], v["share"][None], v["p"][:2], v["cut"], corr]
    return torch.cat([*bounded, v["S"][LOWER[0], LOWER[1]], z[13:]])


def _normal(x: Tensor, mean: Tensor | float, sd: Tensor | float) -> Tensor:
    mean, sd = (torch.as_tensor(each, dtype=x.dtype) for each in (mean, sd))
    return Normal(mean, sd).log_prob(x).sum()


def log_density(z: Tensor) -> Tensor:
    v = constrained(z)
    two, three = (torch.tensor(float(n)).double() for n in (2, 3))
    inverse_wishart = (
        2 * PSI.logdet()
        - 4 * math.log(2)
        - torch.special.multigammaln(two, 2)
        - 3.5 * v["S"].logdet()
        - 0.5 * torch.linalg.solve(v["S"], PSI).trace()
    )
    return (
        torch.linalg.slogdet(torch.func.jacrev(free)(z))[1]
        + Gamma(two, three).log_prob(v["scale"])
        + _normal(v["share"], 0.3, 0.8)
        + Dirichlet(torch.tensor([1.5, 2.0, 3.0]).double()).log_prob(v["p"])
        + _normal(v["cut"], 0.0, 2.0)
        + LKJCholesky(3, two, validate_args=False).log_prob(v["L"])
        + inverse_wishart
        + _normal(v["m"], 0.0, 1.0)
        + _normal(v["a"], COUNTS[..., None].double().expand(2, 3, 2), v["scale"])
        + _normal(v["c.real"], 0.0, 1.0)
        + _normal(v["c.imag"], 1.0, 2.0)
        + _normal(v["pair:1"], 0.0, 1.0)
        + _normal(v["pair:2"], v["pair:1"], 1.0)
        + _normal(X @ v["m"].T, 0.0, 3.0)
    )


@pytest.mark.slow
def test_every_shape_and_constraint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVFLOW_CACHE", str(tmp_path))
    program = Path(__file__).with_name("shapes.stan")
    target = from_stan(program, {"N": 4, "X": X, "counts": COUNTS}, engine="httpstan")
    z = randn(3, 36).requires_grad_()
    found = target.log_density(z)
    expected = torch.stack([log_density(row) for row in z])
    assert_close(found, expected, 1e-10)
    (slope,) = torch.autograd.grad(found.sum(), z)
    assert_close(slope, torch.autograd.grad(expected.sum(), z)[0], 1e-9)

    values = target.constrain(z.detach())
    for name, value in torch.func.vmap(constrained)(z.detach()).items():
        assert_close(values.pop(name), value, 1e-12)
    m = torch.func.vmap(constrained)(z.detach())["m"]
    assert_close(values.pop("eta"), X @ m.mT, 1e-12)
    assert_close(values.pop("moved"), torch.stack([m, 2 * m], 1), 1e-12)
    first, second = z[:, 31].detach(), z[:, 32].detach()
    square = torch.complex(first, second) ** 2
    parts = {"d.1.real": first, "d.1.imag": second, "d.2.real": square.real}
    for name, value in (parts | {"d.2.imag": square.imag}).items():
        assert_close(values.pop(name), value, 1e-12)
    share = -1 + 3 * torch.sigmoid(z[:, 1].detach())
    assert_close(values.pop("both:1"), z[:, 0].detach().exp(), 1e-12)
    assert_close(values.pop("both:2"), torch.stack([share, 2 * share], 1), 1e-12)
    assert not values
