"""A likelihood with which models can be solved."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.vae import DiscretisedLogistic


class NormalPixels(DiscretisedLogistic):
    """Pixels that are normal around the decoder's first output, with standard deviation 1/2."""

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return torch.distributions.Normal(params[..., 0], 0.5).log_prob(x).sum(-1)
