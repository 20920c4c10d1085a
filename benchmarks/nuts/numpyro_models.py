"""The models of `data.py` for NumPyro."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm
from numpyro import sample

from nuts.data import Data


def eight_schools_noncentered(d: Data) -> None:
    tau, mu = sample("tau", dist.HalfCauchy(5.0)), sample("mu", dist.Normal(0.0, 5.0))
    t = sample("t", dist.Normal(0.0, 1.0).expand([8]).to_event(1))
    sample("y", dist.Normal(mu + tau * t, d["sigma"]).to_event(1), obs=d["y"])


def eight_schools_centered(d: Data) -> None:
    tau, mu = sample("tau", dist.HalfCauchy(5.0)), sample("mu", dist.Normal(0.0, 5.0))
    theta = sample("theta", dist.Normal(mu, tau).expand([8]).to_event(1))
    sample("y", dist.Normal(theta, d["sigma"]).to_event(1), obs=d["y"])


def ar(d: Data) -> None:
    y, k = d["y"], d["K"]
    lags = np.stack([y[k - j : len(y) - j] for j in range(1, k + 1)], -1)
    alpha = sample("alpha", dist.Normal(0.0, 10.0))
    beta = sample("beta", dist.Normal(0.0, 10.0).expand([k]).to_event(1))
    sigma = sample("sigma", dist.HalfCauchy(2.5))
    sample("y", dist.Normal(alpha + lags @ beta, sigma).to_event(1), obs=y[k:])


def kilpisjarvi(d: Data) -> None:
    alpha = sample("alpha", dist.Normal(d["pmualpha"], d["psalpha"]))
    beta = sample("beta", dist.Normal(d["pmubeta"], d["psbeta"]))
    sigma = sample("sigma", dist.ImproperUniform(dist.constraints.positive, (), ()))
    sample("y", dist.Normal(alpha + beta * d["x"], sigma).to_event(1), obs=d["y"])


def earnings(d: Data) -> None:
    beta = sample("beta", dist.ImproperUniform(dist.constraints.real_vector, (), (4,)))
    sigma = sample("sigma", dist.ImproperUniform(dist.constraints.positive, (), ()))
    height, male = d["height"], d["male"]
    mean = beta[0] + beta[1] * height + beta[2] * male + beta[3] * height * male
    sample("y", dist.Normal(mean, sigma).to_event(1), obs=np.log(d["earn"]))


def diamonds(d: Data) -> None:
    x = d["X"][:, 1:]
    b = sample("b", dist.Normal(0.0, 1.0).expand([24]).to_event(1))
    intercept = sample("intercept", dist.StudentT(3.0, 8.0, 10.0))
    sigma = sample("sigma", dist.FoldedDistribution(dist.StudentT(3.0, 0.0, 10.0)))
    sample("y", dist.Normal(intercept + (x - x.mean(0)) @ b, sigma).to_event(1), obs=d["Y"])


def rugby(d: Data) -> None:
    home, intercept = sample("home", dist.Normal(0.0, 1.0)), sample("intercept", dist.Normal(3.0))
    sd_attack = sample("sd_attack", dist.HalfNormal(2.0))
    sd_defence = sample("sd_defence", dist.HalfNormal(2.0))
    attack = sample("attack", dist.Normal(0.0, sd_attack).expand([d["teams"]]).to_event(1))
    defence = sample("defence", dist.Normal(0.0, sd_defence).expand([d["teams"]]).to_event(1))
    attack, defence = attack - attack.mean(), defence - defence.mean()
    at_home = intercept + home + attack[d["home"]] + defence[d["away"]]
    away = intercept + attack[d["away"]] + defence[d["home"]]
    sample("home_score", dist.Poisson(jnp.exp(at_home)).to_event(1), obs=d["home_score"])
    sample("away_score", dist.Poisson(jnp.exp(away)).to_event(1), obs=d["away_score"])


def radon(d: Data) -> None:
    mu_a, mu_b = sample("mu_a", dist.Normal(0.0, 10.0)), sample("mu_b", dist.Normal(0.0, 10.0))
    sigma_a = sample("sigma_a", dist.Exponential(0.5))
    sigma_b = sample("sigma_b", dist.Exponential(0.5))
    z_a = sample("z_a", dist.Normal(0.0, 1.0).expand([d["counties"]]).to_event(1))
    z_b = sample("z_b", dist.Normal(0.0, 1.0).expand([d["counties"]]).to_event(1))
    a, b = mu_a + sigma_a * z_a, mu_b + sigma_b * z_b
    sigma = sample("sigma", dist.Exponential(1.0))
    mean = a[d["county"]] + b[d["county"]] * d["floor"]
    sample("y", dist.Normal(mean, sigma).to_event(1), obs=d["y"])


def golf(d: Data) -> None:
    half = dist.HalfNormal(1.0)
    sigma_angle, sigma_y = sample("sigma_angle", half), sample("sigma_y", half)
    sigma_distance = sample("sigma_distance", half)
    angle = 2 * norm.cdf(np.arcsin(d["gap"] / d["distance"]) / sigma_angle) - 1
    spread = (d["distance"] + 1) * sigma_distance
    p = angle * (norm.cdf(2 / spread) - norm.cdf(-1 / spread))
    sigma = jnp.sqrt(p * (1 - p) / d["tries"] + sigma_y**2)
    sample("y", dist.Normal(p, sigma).to_event(1), obs=d["rate"])


def coal(d: Data) -> None:
    early, late = sample("early", dist.Exponential(1.0)), sample("late", dist.Exponential(1.0))
    rate = jnp.where(d["switch"][:, None] >= d["years"], early, late)
    by_switch = (d["disasters"] * jnp.log(rate) - rate).sum(1)
    numpyro.factor("disasters", logsumexp(by_switch))


def volatility(d: Data) -> None:
    step, nu = sample("step", dist.Exponential(10.0)), sample("nu", dist.Exponential(0.1))
    count = len(d["returns"])
    steps = sample("steps", dist.Normal(0.0, 1.0).expand([count]).to_event(1))
    path = step * jnp.cumsum(steps)
    sample("returns", dist.StudentT(nu, 0.0, jnp.exp(path)).to_event(1), obs=d["returns"])


def horseshoe(d: Data) -> None:
    count = d["x"].shape[1]
    tau = sample("tau", dist.HalfCauchy(1.0))
    lam = sample("lam", dist.HalfCauchy(1.0).expand([count]).to_event(1))
    z = sample("z", dist.Normal(0.0, 1.0).expand([count]).to_event(1))
    sigma = sample("sigma", dist.HalfNormal(1.0))
    sample("y", dist.Normal(d["x"] @ (z * lam * tau), sigma).to_event(1), obs=d["y"])


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


def build(name: str, data: Data) -> Callable[[], None]:
    """Return a model with its data."""
    return partial(MODELS[name], data)
