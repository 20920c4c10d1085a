"""The six posteriors of posteriordb in torch: data in, log density over unconstrained vectors out.

Positive parameters are on the log scale, with the log-Jacobian. `reference` gives the draws to
hold an approximation against, in the same unconstrained coordinates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Cauchy, Normal, StudentT

from invflow.vi import Flat

Data = dict[str, Any]
LogDensity = Callable[[Tensor], Tensor]
HALF = math.log(2)


def _tensors(data: Data) -> Data:
    return {
        key: torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value
        for key, value in data.items()
    }


def eight_schools_noncentered(data: Data) -> LogDensity:
    """Vectors (t_1 .. t_8, mu, log tau), with theta = mu + tau t."""

    def log_density(z: Tensor) -> Tensor:
        t, mu, log_tau = z[..., :8], z[..., 8], z[..., 9]
        theta = mu.unsqueeze(-1) + log_tau.exp().unsqueeze(-1) * t
        prior = Normal(0.0, 1.0).log_prob(t).sum(-1) + Normal(0.0, 5.0).log_prob(mu)
        scale = Cauchy(0.0, 5.0).log_prob(log_tau.exp()) + HALF + log_tau
        return prior + scale + Normal(theta, data["sigma"]).log_prob(data["y"]).sum(-1)

    return log_density


def eight_schools_centered(data: Data) -> LogDensity:
    """Vectors (theta_1 .. theta_8, mu, log tau)."""

    def log_density(z: Tensor) -> Tensor:
        theta, mu, log_tau = z[..., :8], z[..., 8], z[..., 9]
        each = Normal(mu.unsqueeze(-1), log_tau.exp().unsqueeze(-1), validate_args=False)
        prior = each.log_prob(theta).sum(-1) + Normal(0.0, 5.0).log_prob(mu)
        scale = Cauchy(0.0, 5.0).log_prob(log_tau.exp()) + HALF + log_tau
        return prior + scale + Normal(theta, data["sigma"]).log_prob(data["y"]).sum(-1)

    return log_density


def _regression(x: Tensor, y: Tensor, weights: Tensor, sigma: Tensor) -> Tensor:
    """Return the log-likelihood of a linear regression, without a loop over draws."""
    residual = y - weights @ x.mT
    return -0.5 * (residual / sigma.unsqueeze(-1)).square().sum(-1) - len(y) * (
        sigma.log() + 0.5 * math.log(2 * math.pi)
    )


def ar(data: Data) -> LogDensity:
    """Vectors (alpha, beta_1 .. beta_K, log sigma)."""
    y, k = data["y"], data["K"]
    lags = torch.stack([y[k - j : len(y) - j] for j in range(1, k + 1)], -1)
    design = torch.cat([torch.ones_like(lags[:, :1]), lags], -1)

    def log_density(z: Tensor) -> Tensor:
        weights, log_sigma = z[..., : k + 1], z[..., k + 1]
        prior = Normal(0.0, 10.0).log_prob(weights).sum(-1)
        scale = Cauchy(0.0, 2.5).log_prob(log_sigma.exp()) + HALF + log_sigma
        return prior + scale + _regression(design, y[k:], weights, log_sigma.exp())

    return log_density


def kilpisjarvi(data: Data) -> LogDensity:
    """Vectors (alpha, beta, log sigma)."""
    design = torch.stack([torch.ones_like(data["x"]), data["x"]], -1)

    def log_density(z: Tensor) -> Tensor:
        alpha, beta, log_sigma = z.unbind(-1)
        prior = Normal(data["pmualpha"], data["psalpha"]).log_prob(alpha)
        prior = prior + Normal(data["pmubeta"], data["psbeta"]).log_prob(beta)
        return prior + log_sigma + _regression(design, data["y"], z[..., :2], log_sigma.exp())

    return log_density


def logearn_interaction(data: Data) -> LogDensity:
    """Vectors (beta_1 .. beta_4, log sigma)."""
    height, male = data["height"], data["male"]
    design = torch.stack([torch.ones_like(height), height, male, height * male], -1)
    y = data["earn"].log()

    def log_density(z: Tensor) -> Tensor:
        return z[..., 4] + _regression(design, y, z[..., :4], z[..., 4].exp())

    return log_density


def diamonds(data: Data) -> LogDensity:
    """Vectors (b_1 .. b_24, intercept, log sigma)."""
    columns = data["X"][:, 1:]
    design = torch.cat([columns - columns.mean(0), torch.ones_like(columns[:, :1])], -1)
    y = data["Y"]
    # The likelihood through sufficient statistics: what matters is the density, not its cost.
    gram, moment, square = design.mT @ design, design.mT @ y, y @ y

    def log_density(z: Tensor) -> Tensor:
        weights, log_sigma = z[..., :25], z[..., 25]
        prior = Normal(0.0, 1.0).log_prob(z[..., :24]).sum(-1)
        prior = prior + StudentT(3.0, 8.0, 10.0).log_prob(z[..., 24])
        prior = prior + StudentT(3.0, 0.0, 10.0).log_prob(log_sigma.exp()) + HALF + log_sigma
        rest = square - 2 * weights @ moment + (weights @ gram * weights).sum(-1)
        size = len(y) * (log_sigma + 0.5 * math.log(2 * math.pi))
        return prior - 0.5 * rest * torch.exp(-2 * log_sigma) - size

    return log_density


#: By the name of the folder: the model, and the reference's names of the coordinates; a name with
#: "log" in front of it is the logarithm of what is stored.
MODELS: dict[str, tuple[Callable[[Data], LogDensity], list[str]]] = {
    "eight_schools-eight_schools_noncentered": (
        eight_schools_noncentered,
        [*(f"theta[{j}]" for j in range(1, 9)), "mu", "log tau"],
    ),
    "eight_schools-eight_schools_centered": (
        eight_schools_centered,
        [*(f"theta[{j}]" for j in range(1, 9)), "mu", "log tau"],
    ),
    "arK-arK": (ar, ["alpha", *(f"beta[{k}]" for k in range(1, 6)), "log sigma"]),
    "kilpisjarvi_mod-kilpisjarvi": (kilpisjarvi, ["alpha", "beta", "log sigma"]),
    "earnings-logearn_interaction": (
        logearn_interaction,
        [*(f"beta[{k}]" for k in range(1, 5)), "log sigma"],
    ),
    "diamonds-diamonds": (
        diamonds,
        [*(f"b[{k}]" for k in range(1, 25)), "Intercept", "log sigma"],
    ),
}


def load(name: str, folder: Path) -> tuple[Flat, Callable[[Tensor], Tensor], Tensor]:
    """Return the target, the map from its vectors to reported quantities, and reference draws."""
    model, names = MODELS[name]
    data = _tensors(json.loads((folder / name / "data.json").read_text()))
    draws = np.load(folder / name / "reference_draws.npz")
    columns = [
        np.log(draws[key.removeprefix("log ")]) if key.startswith("log ") else draws[key]
        for key in names
    ]
    reference = torch.from_numpy(np.stack(columns, -1)).double()

    def reported(z: Tensor) -> Tensor:
        if model is not eight_schools_noncentered:
            return z
        theta = z[..., 8:9] + z[..., 9:10].exp() * z[..., :8]
        return torch.cat([theta, z[..., 8:]], -1)

    return Flat(model(data), len(names)), reported, reference
