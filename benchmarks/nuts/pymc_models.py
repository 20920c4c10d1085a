"""The models of `data.py` for PyMC."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from nuts.data import Data


def eight_schools_noncentered(d: Data) -> None:
    tau, mu = pm.HalfCauchy("tau", 5), pm.Normal("mu", 0, 5)
    t = pm.Normal("t", 0, 1, shape=8)
    pm.Normal("y", mu + tau * t, d["sigma"], observed=d["y"])


def eight_schools_centered(d: Data) -> None:
    tau, mu = pm.HalfCauchy("tau", 5), pm.Normal("mu", 0, 5)
    theta = pm.Normal("theta", mu, tau, shape=8)
    pm.Normal("y", theta, d["sigma"], observed=d["y"])


def ar(d: Data) -> None:
    y, k = d["y"], d["K"]
    lags = np.stack([y[k - j : len(y) - j] for j in range(1, k + 1)], -1)
    alpha, beta = pm.Normal("alpha", 0, 10), pm.Normal("beta", 0, 10, shape=k)
    sigma = pm.HalfCauchy("sigma", 2.5)
    pm.Normal("y", alpha + lags @ beta, sigma, observed=y[k:])


def kilpisjarvi(d: Data) -> None:
    alpha = pm.Normal("alpha", d["pmualpha"], d["psalpha"])
    beta = pm.Normal("beta", d["pmubeta"], d["psbeta"])
    sigma = pm.HalfFlat("sigma")
    pm.Normal("y", alpha + beta * d["x"], sigma, observed=d["y"])


def earnings(d: Data) -> None:
    beta, sigma = pm.Flat("beta", shape=4), pm.HalfFlat("sigma")
    height, male = d["height"], d["male"]
    mean = beta[0] + beta[1] * height + beta[2] * male + beta[3] * height * male
    pm.Normal("y", mean, sigma, observed=np.log(d["earn"]))


def diamonds(d: Data) -> None:
    x = d["X"][:, 1:]
    b, intercept = pm.Normal("b", 0, 1, shape=24), pm.StudentT("intercept", 3, mu=8, sigma=10)
    sigma = pm.HalfStudentT("sigma", 3, sigma=10)
    pm.Normal("y", intercept + (x - x.mean(0)) @ b, sigma, observed=d["Y"])


def rugby(d: Data) -> None:
    home, intercept = pm.Normal("home", 0, 1), pm.Normal("intercept", 3, 1)
    sd_attack, sd_defence = pm.HalfNormal("sd_attack", 2), pm.HalfNormal("sd_defence", 2)
    attack = pm.Normal("attack", 0, sd_attack, shape=d["teams"])
    defence = pm.Normal("defence", 0, sd_defence, shape=d["teams"])
    attack, defence = attack - attack.mean(), defence - defence.mean()
    at_home = intercept + home + attack[d["home"]] + defence[d["away"]]
    away = intercept + attack[d["away"]] + defence[d["home"]]
    pm.Poisson("home_score", pt.exp(at_home), observed=d["home_score"])
    pm.Poisson("away_score", pt.exp(away), observed=d["away_score"])


def radon(d: Data) -> None:
    mu_a, mu_b = pm.Normal("mu_a", 0, 10), pm.Normal("mu_b", 0, 10)
    sigma_a, sigma_b = pm.Exponential("sigma_a", 0.5), pm.Exponential("sigma_b", 0.5)
    z_a = pm.Normal("z_a", 0, 1, shape=d["counties"])
    z_b = pm.Normal("z_b", 0, 1, shape=d["counties"])
    a, b = mu_a + sigma_a * z_a, mu_b + sigma_b * z_b
    sigma = pm.Exponential("sigma", 1)
    pm.Normal("y", a[d["county"]] + b[d["county"]] * d["floor"], sigma, observed=d["y"])


def _phi(x: pt.TensorVariable) -> pt.TensorVariable:
    return 0.5 * (1 + pt.erf(x / np.sqrt(2)))


def golf(d: Data) -> None:
    sigma_angle, sigma_y = pm.HalfNormal("sigma_angle", 1), pm.HalfNormal("sigma_y", 1)
    sigma_distance = pm.HalfNormal("sigma_distance", 1)
    angle = 2 * _phi(np.arcsin(d["gap"] / d["distance"]) / sigma_angle) - 1
    spread = (d["distance"] + 1) * sigma_distance
    p = angle * (_phi(2 / spread) - _phi(-1 / spread))
    sigma = pt.sqrt(p * (1 - p) / d["tries"] + sigma_y**2)
    pm.Normal("y", p, sigma, observed=d["rate"])


def coal(d: Data) -> None:
    early, late = pm.Exponential("early", 1), pm.Exponential("late", 1)
    before = d["switch"][:, None] >= d["years"]  # (switch, years)
    rate = pt.switch(before, early, late)
    count = d["disasters"]
    by_switch = (count * pt.log(rate) - rate).sum(1)
    pm.Potential("disasters", pt.logsumexp(by_switch))


def volatility(d: Data) -> None:
    step, nu = pm.Exponential("step", 10), pm.Exponential("nu", 0.1)
    count = len(d["returns"])
    steps = pm.Normal("steps", 0, 1, shape=count)
    path = step * pt.cumsum(steps)
    pm.StudentT("returns", nu, mu=0, sigma=pt.exp(path), observed=d["returns"])


def horseshoe(d: Data) -> None:
    count = d["x"].shape[1]
    tau, lam = pm.HalfCauchy("tau", 1), pm.HalfCauchy("lam", 1, shape=count)
    z, sigma = pm.Normal("z", 0, 1, shape=count), pm.HalfNormal("sigma", 1)
    pm.Normal("y", d["x"] @ (z * lam * tau), sigma, observed=d["y"])


MODELS: dict[str, Callable[[Data], None]] = {
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


def build(name: str, data: Data) -> pm.Model:
    """Return a model with its data."""
    with pm.Model() as model:
        MODELS[name](data)
    return model
