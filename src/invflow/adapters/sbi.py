"""Flows inside sbi: the estimators of its `NPE` and `NLE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from invflow._extra import required
from invflow._modes import evaluating
from invflow.adapters.zuko import to_zuko
from invflow.flows import Flow
from invflow.flows.named import FLOWS, build

#: How sbi standardises, by its own names.
SCALED = ("independent", "structured", "none")
UNBOUNDED = "transform_to_unconstrained"


def posterior_nn(
    flow: str | Callable[..., Flow] = "maf",
    *,
    z_score_theta: str = "independent",
    z_score_x: str = "independent",
    embedding_net: nn.Module | None = None,
    x_dist: Distribution | None = None,
    **options: Any,
) -> Callable[[Tensor, Tensor], Any]:
    r"""Return what builds the posterior estimator of `sbi.inference.NPE` from a flow.

    $$q(\theta|x) = \left|\det\frac{ds}{d\theta}\right| \, p_f(s(\theta);\, e(x))$$

    where $p_f$ is the flow's density, s standardises the parameters and e embeds the data, both as
    sbi's `posterior_nn` does. With `z_score_theta="transform_to_unconstrained"` s maps the support
    of the prior, `x_dist`, to all numbers: the posterior then has no mass outside.

    Args:
        flow: the name of a flow, such as "maf" or "nsf", or a callable that builds one from its
            `features` and the size of its `context`.
        z_score_theta: "independent", "structured", "transform_to_unconstrained" or "none".
        z_score_x: "independent", "structured" or "none".
        embedding_net: maps standardised data, (batch, *shape of x), to the context, (batch, C).
            Each estimator has a copy, and trains it.
        x_dist: the prior, for "transform_to_unconstrained".
        **options: further arguments of the flow, such as `transforms` and `hidden_features`.

    Returns:
        For `NPE(prior, density_estimator=...)`: a function of parameters, (number, D), and data,
        (number, *shape of x), that returns an untrained estimator in their dtype.

    Raises:
        TypeError: if `flow` or `embedding_net` has the wrong type, or the flow does not have an
            option.
        ValueError: if the flow or a way to standardise is unknown, or `x_dist` is missing, or given
            where it is not used. Building raises one for shapes that do not fit.

    References:
        Tejero-Cantero et al. 2020, sbi: https://sbi.readthedocs.io

    Example:
        >>> import torch
        >>> build = posterior_nn("maf", transforms=2, hidden_features=(32, 32))
        >>> theta = torch.randn(100, 3)
        >>> build(theta, theta.exp()).sample((5,), condition=theta[:2]).shape
        torch.Size([5, 2, 3])
    """
    _known("z_score_x", z_score_x, SCALED)
    scaling = _scaling("z_score_theta", z_score_theta, x_dist)
    return Estimators(flow, options, scaling, z_score_x, embedding_net).posterior


def likelihood_nn(
    flow: str | Callable[..., Flow] = "maf",
    *,
    z_score_theta: str = "independent",
    z_score_x: str = "independent",
    embedding_net: nn.Module | None = None,
    x_dist: Distribution | None = None,
    **options: Any,
) -> Callable[[Tensor, Tensor], Any]:
    r"""Return what builds the likelihood estimator of `sbi.inference.NLE` from a flow.

    $$q(x|\theta) = \left|\det\frac{ds}{dx}\right| \, p_f(s(x);\, e(\theta))$$

    where $p_f$ is the flow's density, s standardises the data and e embeds the parameters, both as
    sbi's `likelihood_nn` does.

    Args:
        flow: as for `posterior_nn`.
        z_score_theta: "independent", "structured" or "none".
        z_score_x: "independent", "structured", "transform_to_unconstrained" or "none".
        embedding_net: maps standardised parameters, (batch, *shape of theta), to the context,
            (batch, C). Each estimator has a copy, and trains it.
        x_dist: a distribution with the support of the data, for "transform_to_unconstrained".
        **options: further arguments of the flow, such as `transforms` and `hidden_features`.

    Returns:
        For `NLE(prior, density_estimator=...)`: a function of parameters, (number, *shape of
        theta), and data, (number, D), that returns an untrained estimator in their dtype.

    Raises:
        TypeError: if `flow` or `embedding_net` has the wrong type, or the flow does not have an
            option.
        ValueError: if the flow or a way to standardise is unknown, or `x_dist` is missing, or given
            where it is not used. Building raises one for shapes that do not fit.

    References:
        Papamakarios, Sterratt and Murray 2019, arXiv 1805.07226.

    Example:
        >>> import torch
        >>> theta = torch.randn(100, 2)
        >>> estimator = likelihood_nn("maf", transforms=2)(theta, torch.randn(100, 4))
        >>> estimator.sample((5,), condition=theta[:2]).shape
        torch.Size([5, 2, 4])
    """
    _known("z_score_theta", z_score_theta, SCALED)
    scaling = _scaling("z_score_x", z_score_x, x_dist)
    return Estimators(flow, options, scaling, z_score_theta, embedding_net).likelihood


@dataclass(frozen=True)
class Estimators:
    """What an estimator is built from, when sbi has seen its first simulations.

    Args:
        flow: the name of a flow, or a callable that builds one.
        options: its arguments.
        scaling: how the vector is standardised, or the distribution whose support it has.
        z_score_condition: how the condition is standardised.
        embedding_net: maps the standardised condition to the context.
    """

    flow: str | Callable[..., Flow]
    options: Mapping[str, Any]
    scaling: str | Distribution
    z_score_condition: str
    embedding_net: nn.Module | None

    def __post_init__(self) -> None:
        if self.embedding_net is not None and not isinstance(self.embedding_net, nn.Module):
            kind = type(self.embedding_net).__name__
            raise TypeError(f"embedding_net must be a torch module, got {kind}")
        if isinstance(self.flow, nn.Module) or not (
            isinstance(self.flow, str) or callable(self.flow)
        ):
            raise TypeError(
                "flow must be the name of a flow, or a function that builds one, got a "
                f"{type(self.flow).__name__}"
            )
        if isinstance(self.flow, str):
            FLOWS.choose(self.flow)
            # An unknown option is told here and not when sbi trains; what is wrong for these sizes
            # only may be right for others.
            with torch.random.fork_rng(devices=[]), suppress(ValueError):
                build(self.flow, features=2, context=1, **self.options)

    def posterior(self, theta: Tensor, x: Tensor) -> Any:
        """Return an estimator of the density of parameters given data."""
        return self._estimator(theta, x)

    def likelihood(self, theta: Tensor, x: Tensor) -> Any:
        """Return an estimator of the density of data given parameters."""
        return self._estimator(x, theta)

    def _estimator(self, vectors: Tensor, conditions: Tensor) -> Any:
        sbi = required("sbi.neural_nets.estimators", "sbi")
        if vectors.ndim != 2:
            raise ValueError(
                "what a flow models must have shape (number, D), got "
                f"{tuple(vectors.shape)}; reshape it"
            )
        embedding = self._embedding(conditions)
        sizes = {"features": vectors.shape[1], "context": _context(embedding, conditions)}
        make = partial(build, self.flow) if isinstance(self.flow, str) else self.flow
        flow = to_zuko(make(**sizes, **self.options)).to(vectors)
        net = required("zuko.flows", "sbi").Flow(
            (*_scale(self.scaling, vectors), flow.transform), flow.base
        )
        return sbi.ZukoFlow(
            net, embedding, input_shape=vectors.shape[1:], condition_shape=conditions.shape[1:]
        )

    def _embedding(self, conditions: Tensor) -> nn.Module:
        """Return a new network, of a standardisation and the embedding."""
        utils = required("sbi.utils.sbiutils", "sbi")
        # A copy, because the estimators of an ensemble must not train each other's.
        own = nn.Identity() if self.embedding_net is None else deepcopy(self.embedding_net)
        own = own.to(conditions)
        if self.z_score_condition == "none":
            return own
        structured = self.z_score_condition == "structured"
        return nn.Sequential(utils.standardizing_net(conditions, structured), own)


def _scale(scaling: str | Distribution, vectors: Tensor) -> tuple[Any, ...]:
    """Return the map of the vectors to a common scale, as sbi's estimators with Zuko's flows do."""
    utils = required("sbi.utils.sbiutils", "sbi")
    if isinstance(scaling, Distribution):
        if scaling.event_shape != vectors.shape[1:]:
            raise ValueError(
                f"x_dist must be a distribution of vectors of size {vectors.shape[1]}, "
                f"got one with event_shape {tuple(scaling.event_shape)}"
            )
        bijection = utils.mcmc_transform(scaling, device=vectors.device)
        return (utils.biject_transform_zuko(bijection),)
    if scaling == "none":
        return ()
    return (utils.standardizing_transform_zuko(vectors, scaling == "structured"),)


def _context(embedding: nn.Module, conditions: Tensor) -> int:
    """Return the size of the context."""
    with torch.no_grad(), evaluating(embedding):
        embedded = embedding(conditions[:2])
    if embedded.ndim != 2:
        raise ValueError(
            f"the context must be a vector for each condition, got shape {tuple(embedded.shape)} "
            f"from conditions of shape {tuple(conditions[:2].shape)}; give an embedding_net"
        )
    return embedded.shape[1]


def _scaling(name: str, value: str, x_dist: Distribution | None) -> str | Distribution:
    _known(name, value, (*SCALED, UNBOUNDED))
    if value != UNBOUNDED:
        if x_dist is not None:
            raise ValueError(f"x_dist is used only with {name}={UNBOUNDED!r}, got {name}={value!r}")
        return value
    if not isinstance(x_dist, Distribution):
        raise ValueError(
            f"x_dist must be a torch distribution for {name}={value!r}, got {type(x_dist).__name__}"
        )
    return x_dist


def _known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
