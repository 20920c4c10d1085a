"""An inverse autoregressive flow as a guide for Pyro's own SVI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from invflow.flows import IAF, Preconditioned, to_pyro


def AutoIAF(  # noqa: N802 - named like Pyro's own guides
    model: Callable[..., Any],
    *,
    init_scale: float = 0.1,
    init_loc_fn: Callable[..., Any] | None = None,
    seed: int = 0,
    **flow: Any,
) -> Any:
    """Return a guide that drops into Pyro's `SVI`, as `AutoIAFNormal` does.

    The flow is around Pyro's initial location, in unconstrained space, with a learned
    autoregressive shape. For a fit that finds scales and modes by itself, and says whether to trust
    it, take `fit(from_pyro(model, ...))`.

    Args:
        model: a Pyro model.
        init_scale: standard deviation at the start.
        init_loc_fn: where to start, as for Pyro's guides; by default the median of the prior.
        seed: of the flow's initial weights.
        **flow: of `invflow.IAF`, such as `transforms` and `hidden_features`.

    Raises:
        TypeError: options that the flow does not have.
        ValueError: a scale that is not positive.
        ImportError: Pyro is not installed.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from pyro.infer import SVI, Trace_ELBO
        >>> def model():
        ...     z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        >>> guide = AutoIAF(model, transforms=2)
        >>> svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
        >>> loss = svi.step()
        >>> guide()["z"].shape
        torch.Size([3])
    """
    try:
        from pyro.infer.autoguide import AutoContinuous, init_to_median
    except ImportError as error:
        raise ImportError('AutoIAF needs Pyro: pip install "invflow[pyro]"') from error
    if not init_scale > 0:
        raise ValueError(f"init_scale must be positive, got {init_scale!r}")

    class Guide(AutoContinuous):
        def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
            super()._setup_prototype(*args, **kwargs)
            location = self._init_loc()
            generator = torch.Generator().manual_seed(seed)
            inner = IAF(self.latent_dim, generator=generator, **flow)
            self.flow = Preconditioned(inner).to(location)
            self.flow.set(location, init_scale * torch.eye(self.latent_dim).to(location))

        def get_base_dist(self) -> Any:
            import pyro.distributions as dist

            zeros = torch.zeros(self.latent_dim).to(next(self.flow.parameters()))
            return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)

        def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
            return to_pyro(self.flow())

    return Guide(model, init_loc_fn=init_to_median if init_loc_fn is None else init_loc_fn)
