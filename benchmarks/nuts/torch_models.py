"""The models of `data.py` as functions of named parameters in torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from invflow.vi import Named, Parameter
from nuts.data import Data

REAL, POSITIVE = constraints.real, constraints.positive


def tensor(value: object) -> Tensor:
    return torch.as_tensor(np.asarray(value)).double()


def normal(x: Tensor, mean: Tensor | float, sd: Tensor | float) -> Tensor:
    log_sd = sd.log() if isinstance(sd, Tensor) else math.log(sd)
    return -0.5 * ((x - mean) / sd).square() - log_sd - 0.5 * math.log(2 * math.pi)


def half_normal(x: Tensor, sd: float) -> Tensor:
    return normal(x, 0.0, sd) + math.log(2)


def half_cauchy(x: Tensor, scale: float) -> Tensor:
    return math.log(2 / (math.pi * scale)) - torch.log1p((x / scale).square())


def student_t(x: Tensor, nu: Tensor, log_sd: Tensor) -> Tensor:
    constant = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - 0.5 * (math.pi * nu).log()
    square = (x * torch.exp(-log_sd)).square()
    return constant - log_sd - (nu + 1) / 2 * torch.log1p(square / nu)


def exponential(x: Tensor, rate: float) -> Tensor:
    return math.log(rate) - rate * x


def eight_schools_noncentered(d: Data) -> Named:
    y, sigma = tensor(d["y"]), tensor(d["sigma"])

    def log_density(tau: Tensor, mu: Tensor, t: Tensor) -> Tensor:
        theta = mu[:, None] + tau[:, None] * t
        each = normal(t, 0.0, 1.0) + normal(y, theta, sigma)
        return half_cauchy(tau, 5.0) + normal(mu, 0.0, 5.0) + each.sum(-1)

    return Named(log_density, {"tau": POSITIVE, "mu": REAL, "t": Parameter(REAL, (8,))})


def eight_schools_centered(d: Data) -> Named:
    y, sigma = tensor(d["y"]), tensor(d["sigma"])

    def log_density(tau: Tensor, mu: Tensor, theta: Tensor) -> Tensor:
        each = normal(theta, mu[:, None], tau[:, None]) + normal(y, theta, sigma)
        return half_cauchy(tau, 5.0) + normal(mu, 0.0, 5.0) + each.sum(-1)

    return Named(log_density, {"tau": POSITIVE, "mu": REAL, "theta": Parameter(REAL, (8,))})


def ar(d: Data) -> Named:
    y, k = tensor(d["y"]), d["K"]
    lags = torch.stack([y[k - j : len(y) - j] for j in range(1, k + 1)], -1)

    def log_density(alpha: Tensor, beta: Tensor, sigma: Tensor) -> Tensor:
        mean = alpha[:, None] + beta @ lags.mT
        prior = normal(alpha, 0.0, 10.0) + normal(beta, 0.0, 10.0).sum(-1)
        return prior + half_cauchy(sigma, 2.5) + normal(y[k:], mean, sigma[:, None]).sum(-1)

    return Named(log_density, {"alpha": REAL, "beta": Parameter(REAL, (k,)), "sigma": POSITIVE})


def kilpisjarvi(d: Data) -> Named:
    x, y = tensor(d["x"]), tensor(d["y"])

    def log_density(alpha: Tensor, beta: Tensor, sigma: Tensor) -> Tensor:
        prior = normal(alpha, d["pmualpha"], d["psalpha"]) + normal(beta, d["pmubeta"], d["psbeta"])
        mean = alpha[:, None] + beta[:, None] * x
        return prior + normal(y, mean, sigma[:, None]).sum(-1)

    return Named(log_density, {"alpha": REAL, "beta": REAL, "sigma": POSITIVE})


def earnings(d: Data) -> Named:
    height, male, y = (tensor(d[name]) for name in ("height", "male", "earn"))
    x, y = torch.stack([torch.ones_like(height), height, male, height * male]), y.log()

    def log_density(beta: Tensor, sigma: Tensor) -> Tensor:
        return normal(y, beta @ x, sigma[:, None]).sum(-1)

    return Named(log_density, {"beta": Parameter(REAL, (4,)), "sigma": POSITIVE})


def diamonds(d: Data) -> Named:
    x, y = tensor(d["X"])[:, 1:], tensor(d["Y"])
    x = x - x.mean(0)

    def log_density(b: Tensor, intercept: Tensor, sigma: Tensor) -> Tensor:
        three, ten = torch.tensor(3.0).double(), torch.tensor(10.0).double().log()
        prior = normal(b, 0.0, 1.0).sum(-1) + student_t(intercept - 8, three, ten)
        prior = prior + student_t(sigma, three, ten) + math.log(2)
        mean = intercept[:, None] + b @ x.mT
        return prior + normal(y, mean, sigma[:, None]).sum(-1)

    return Named(log_density, {"b": Parameter(REAL, (24,)), "intercept": REAL, "sigma": POSITIVE})


def rugby(d: Data) -> Named:
    home_team, away_team = torch.from_numpy(d["home"]), torch.from_numpy(d["away"])
    scores = [tensor(d["home_score"]), tensor(d["away_score"])]
    constants = sum(torch.lgamma(score + 1).sum() for score in scores)

    def log_density(
        home: Tensor,
        intercept: Tensor,
        sd_attack: Tensor,
        sd_defence: Tensor,
        attack: Tensor,
        defence: Tensor,
    ) -> Tensor:
        prior = normal(home, 0.0, 1.0) + normal(intercept, 3.0, 1.0)
        prior = prior + half_normal(sd_attack, 2.0) + half_normal(sd_defence, 2.0)
        prior = prior + normal(attack, 0.0, sd_attack[:, None]).sum(-1)
        prior = prior + normal(defence, 0.0, sd_defence[:, None]).sum(-1)
        attack, defence = (each - each.mean(-1, True) for each in (attack, defence))
        at_home = (intercept + home)[:, None] + attack[:, home_team] + defence[:, away_team]
        away = intercept[:, None] + attack[:, away_team] + defence[:, home_team]
        rates = zip(scores, (at_home, away), strict=True)
        return prior + sum((y * log - log.exp()).sum(-1) for y, log in rates) - constants

    teams = Parameter(REAL, (d["teams"],))
    scales = {"sd_attack": POSITIVE, "sd_defence": POSITIVE}
    return Named(
        log_density,
        {"home": REAL, "intercept": REAL, **scales, "attack": teams, "defence": teams},
    )


def radon(d: Data) -> Named:
    county, floor, y = torch.from_numpy(d["county"]), tensor(d["floor"]), tensor(d["y"])

    def log_density(
        mu_a: Tensor,
        mu_b: Tensor,
        sigma_a: Tensor,
        sigma_b: Tensor,
        z_a: Tensor,
        z_b: Tensor,
        sigma: Tensor,
    ) -> Tensor:
        prior = normal(mu_a, 0.0, 10.0) + normal(mu_b, 0.0, 10.0) + exponential(sigma, 1.0)
        prior = prior + exponential(sigma_a, 0.5) + exponential(sigma_b, 0.5)
        prior = prior + (normal(z_a, 0.0, 1.0) + normal(z_b, 0.0, 1.0)).sum(-1)
        a = mu_a[:, None] + sigma_a[:, None] * z_a
        b = mu_b[:, None] + sigma_b[:, None] * z_b
        mean = a[:, county] + b[:, county] * floor
        return prior + normal(y, mean, sigma[:, None]).sum(-1)

    counties = Parameter(REAL, (d["counties"],))
    scales = {"sigma_a": POSITIVE, "sigma_b": POSITIVE}
    return Named(
        log_density,
        {"mu_a": REAL, "mu_b": REAL, **scales, "z_a": counties, "z_b": counties, "sigma": POSITIVE},
    )


def golf(d: Data) -> Named:
    distance, tries, rate = (tensor(d[name]) for name in ("distance", "tries", "rate"))
    threshold = torch.asin(d["gap"] / distance)

    def log_density(sigma_angle: Tensor, sigma_y: Tensor, sigma_distance: Tensor) -> Tensor:
        prior = sum(half_normal(x, 1.0) for x in (sigma_angle, sigma_y, sigma_distance))
        phi = torch.special.ndtr
        angle = 2 * phi(threshold / sigma_angle[:, None]) - 1
        spread = (distance + 1) * sigma_distance[:, None]
        p = angle * (phi(2 / spread) - phi(-1 / spread))
        sigma = (p * (1 - p) / tries + sigma_y[:, None].square()).sqrt()
        return prior + normal(rate, p, sigma).sum(-1)

    names = ("sigma_angle", "sigma_y", "sigma_distance")
    return Named(log_density, dict.fromkeys(names, POSITIVE))


def coal(d: Data) -> Named:
    years, count, switch = (tensor(d[name]) for name in ("years", "disasters", "switch"))
    before = (switch[:, None] >= years).double()  # (switch, years)
    disasters, lengths = before @ count, before.sum(-1)

    def log_density(early: Tensor, late: Tensor) -> Tensor:
        def part(rate: Tensor, disasters: Tensor, years: Tensor) -> Tensor:
            return disasters * rate.log()[:, None] - years * rate[:, None]

        after = part(late, count.sum() - disasters, len(years) - lengths)
        each = part(early, disasters, lengths) + after
        return exponential(early, 1.0) + exponential(late, 1.0) + each.logsumexp(-1)

    return Named(log_density, {"early": POSITIVE, "late": POSITIVE})


def volatility(d: Data) -> Named:
    returns = tensor(d["returns"])

    def log_density(step: Tensor, nu: Tensor, steps: Tensor) -> Tensor:
        prior = exponential(step, 10.0) + exponential(nu, 0.1) + normal(steps, 0.0, 1.0).sum(-1)
        path = step[:, None] * steps.cumsum(-1)
        return prior + student_t(returns, nu[:, None], path).sum(-1)

    steps = Parameter(REAL, (len(returns),))
    return Named(log_density, {"step": POSITIVE, "nu": POSITIVE, "steps": steps})


def horseshoe(d: Data) -> Named:
    x, y = tensor(d["x"]), tensor(d["y"])

    def log_density(tau: Tensor, lam: Tensor, z: Tensor, sigma: Tensor) -> Tensor:
        prior = half_cauchy(tau, 1.0) + (half_cauchy(lam, 1.0) + normal(z, 0.0, 1.0)).sum(-1)
        mean = (z * lam * tau[:, None]) @ x.mT
        return prior + half_normal(sigma, 1.0) + normal(y, mean, sigma[:, None]).sum(-1)

    each = (x.shape[1],)
    return Named(
        log_density,
        {
            "tau": POSITIVE,
            "lam": Parameter(POSITIVE, each),
            "z": Parameter(REAL, each),
            "sigma": POSITIVE,
        },
    )


MODELS: dict[str, Callable[[Data], Named]] = {
    "eight_schools_noncentered": eight_schools_noncentered,
    "eight_schools_centered": eight_schools_centered,
    "arK": ar,
    "kilpisjarvi": kilpisjarvi,
    "earnings": earnings,
    "diamonds": diamonds,
    "rugby": rugby,
    "radon": radon,
    "golf": golf,
    "coal": coal,
    "volatility": volatility,
    "horseshoe": horseshoe,
}


def build(name: str, data: Data) -> Named:
    """Return a model with its data."""
    return MODELS[name](data)
