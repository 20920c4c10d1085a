"""The posterior of a likelihood and a prior, as a target of `invflow.vi`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from invflow.simulation.prior import Prior
from invflow.vi.targets.target import Target


class Unnormalised(Target):
    r"""The posterior of a likelihood, over the standardised vectors of a flow.

    $$\log p(u) = \log p(x|\theta) + \log p(\theta) + \log|\det d\theta/du|,
    \qquad \theta = b(m + s u)$$

    Args:
        prior: of the parameters.
        log_likelihood: takes vectors, (batch, numbers), and returns (batch,).
        location: m, shape (dim,).
        scale: s, shape (dim,).
    """

    caveat = (
        "The log evidence is that of the likelihood as given, or as it was learned from "
        "simulations, whose own error no weight sees."
    )

    def __init__(
        self,
        prior: Prior,
        log_likelihood: Callable[[Tensor], Tensor],
        location: Tensor,
        scale: Tensor,
    ) -> None:
        self.prior, self.likelihood = prior, log_likelihood
        self.location, self.scale = location, scale
        self.dim = prior.dim

    def log_density(self, z: Tensor) -> Tensor:
        theta, ladj = self.prior.constrain(self.location + self.scale * z.double())
        ladj = ladj + self.scale.log().sum()
        return self.likelihood(theta) + self.prior.log_prob(theta) + ladj

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return self.prior.split(self.prior.constrain(self.location + self.scale * z.double())[0])
