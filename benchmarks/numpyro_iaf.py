"""NumPyro's AutoIAFNormal on two posteriors of posteriordb, in double precision.

The densities are those of `posteriordb`, constants included, written for JAX. A model is one vector
over the real numbers with its log density, so that the guide's vector is that of `posteriordb`.
Nothing of PyTorch is imported here.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.scipy.stats import cauchy, norm, t
from numpyro import distributions as dist
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoIAFNormal

Data = dict[str, Any]
LogDensity = Callable[[jax.Array], jax.Array]
HALF = math.log(2)


def eight_schools_noncentered(data: Data) -> LogDensity:
    """Vectors (t_1 .. t_8, mu, log tau), with theta = mu + tau t."""

    def log_density(z: jax.Array) -> jax.Array:
        each, mu, log_tau = z[:8], z[8], z[9]
        theta = mu + jnp.exp(log_tau) * each
        prior = norm.logpdf(each).sum() + norm.logpdf(mu, 0.0, 5.0)
        scale = cauchy.logpdf(jnp.exp(log_tau), 0.0, 5.0) + HALF + log_tau
        return prior + scale + norm.logpdf(data["y"], theta, data["sigma"]).sum()

    return log_density


def diamonds(data: Data) -> LogDensity:
    """Vectors (b_1 .. b_24, intercept, log sigma); the likelihood by sufficient statistics."""
    columns, y = data["X"][:, 1:], data["Y"]
    design = np.concatenate([columns - columns.mean(0), np.ones_like(columns[:, :1])], 1)
    gram, moment, square = design.T @ design, design.T @ y, y @ y

    def log_density(z: jax.Array) -> jax.Array:
        weights, log_sigma = z[:25], z[25]
        prior = norm.logpdf(z[:24]).sum() + t.logpdf(z[24], 3.0, 8.0, 10.0)
        prior = prior + t.logpdf(jnp.exp(log_sigma), 3.0, 0.0, 10.0) + HALF + log_sigma
        rest = square - 2 * weights @ moment + weights @ gram @ weights
        size = len(y) * (log_sigma + 0.5 * math.log(2 * math.pi))
        return prior - 0.5 * rest * jnp.exp(-2 * log_sigma) - size

    return log_density


#: By the name of the folder: the model, and the size of its vectors.
MODELS: dict[str, tuple[Callable[[Data], LogDensity], int]] = {
    "eight_schools-eight_schools_noncentered": (eight_schools_noncentered, 10),
    "diamonds-diamonds": (diamonds, 26),
}


def load(name: str, folder: Path) -> tuple[LogDensity, int]:
    """Return the log density of a vector, and the vector's size."""
    numpyro.enable_x64()
    model, size = MODELS[name]
    data = json.loads((folder / name / "data.json").read_text())
    arrays = {
        key: np.asarray(value, float) if isinstance(value, list) else value
        for key, value in data.items()
    }
    return model(arrays), size


class Guide:
    """AutoIAFNormal as it is by default, and Adam on its bound, compiled.

    Args:
        density: the log density of a vector, and the vector's size.
        rate: Adam's.
        draws: of the guide, in a step.
        steps: of an `advance`.
        seed: random seed.

    Attributes:
        compilation: seconds that tracing and compiling took.
    """

    def __init__(
        self, density: tuple[LogDensity, int], rate: float, draws: int, steps: int, seed: int
    ) -> None:
        log_density, size = density

        def model() -> None:
            z = numpyro.sample("z", dist.ImproperUniform(dist.constraints.real, (), (size,)))
            numpyro.factor("density", log_density(z))

        self.guide = AutoIAFNormal(model)
        svi = SVI(model, self.guide, numpyro.optim.Adam(rate), Trace_ELBO(num_particles=draws))
        started = time.perf_counter()
        self.state = svi.init(jax.random.key(seed))

        def advance(state: Any) -> Any:
            # A step whose gradient is not finite is left out.
            return jax.lax.scan(lambda state, _: svi.stable_update(state), state, length=steps)[0]

        self.compiled = jax.jit(advance).lower(self.state).compile()
        self.compilation = time.perf_counter() - started
        self.draw = jax.jit(self._draw, static_argnums=2)
        self.parameters = svi.get_params

    def advance(self) -> None:
        """Take the steps."""
        self.state = jax.block_until_ready(self.compiled(self.state))

    def sample(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return draws, (count, size), and their log density under the guide, (count,)."""
        z, log_q = self.draw(self.parameters(self.state), jax.random.key(seed), count)
        return np.array(z), np.array(log_q)

    def _draw(self, parameters: Any, key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        flow = self.guide.get_posterior(parameters)
        z, steps = flow.sample_with_intermediates(key, (count,))
        return z, flow.log_prob(z, steps)
