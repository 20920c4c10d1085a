"""The training loss of a flow on a target, with the path gradient of its bound."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.flows import Flow
from invflow.flows.path_gradient import path_bound, pushed
from invflow.vi.targets.density import Density


def path_loss(
    flow: Flow, density: Density, noise: Tensor, samples: int = 1
) -> tuple[Tensor, Tensor]:
    """Return minus the mean bound with its path gradient, and the log weights, detached.

    Draws where the log density is not finite are left out.

    Args:
        flow: the flow whose parameters are learned.
        density: of the target.
        noise: from the flow's base, shape (batch, dim).
        samples: K, importance samples in the bound: 1 for the evidence lower bound; it divides the
            batch.

    Returns:
        A scalar in nats, and log p - log q of each draw, shape (batch,).
    """
    x, log_q, score_q = pushed(flow.transform, flow.base, noise, None)
    log_p, score_p = density.scores(x, exact=False)
    log_w = log_p - log_q.detach()
    good = torch.isfinite(log_w) & torch.isfinite(score_q).all(-1)
    log_w = torch.where(good, log_w, -torch.inf)
    slope_w = torch.where(good.unsqueeze(-1), score_p - score_q, 0.0)
    x, grouped, slope_w = (each.unflatten(0, (-1, samples)) for each in (x, log_w, slope_w))
    # Weights of a group that is left out altogether need only be finite: their slopes are zero.
    grouped = torch.where(torch.isneginf(grouped).all(1, keepdim=True), 0.0, grouped)
    bound = path_bound(x.transpose(0, 1), grouped.T, slope_w.transpose(0, 1))
    return -bound.mean(), log_w
