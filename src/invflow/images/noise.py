"""Normal noise on training images."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.images.model import ImageDensity, noise_of
from invflow.images.pixels import flattened
from invflow.transforms.precision import at_least_single


def noisy(
    model: ImageDensity,
    x: Tensor,
    deviation: float,
    generator: torch.Generator | None = None,
    *,
    context: Tensor | None = None,
) -> Tensor:
    r"""Return the log density of images with normal noise added, to train on.

    A flow that is trained so models noisy images: samples look better, and `ImageDensity.sample`
    can take the noise out of them. The images are dequantised with uniform noise first.

    Args:
        model: of images without a logit.
        x: as for `ImageDensity.bound`.
        deviation: standard deviation of the noise, where levels are scaled to -1 .. 1.
        generator: random numbers; torch's own by default.
        context: of the flow, shape (*batch, context); None if it has none.

    Returns:
        Log densities in nats per image, in units of a level, shape `batch`.

    Raises:
        TypeError: as for `ImageDensity.bound`.
        ValueError: as for `ImageDensity.bound`; or if the images have a logit, or `deviation` is
            not positive.

    References:
        Zhai et al. 2024, arXiv 2412.06329, sections 3.2 and 3.3.

    Example:
        >>> import invflow
        >>> model = ImageDensity(invflow.MAF(4), levels=8, shape=(1, 2, 2), alpha=None)
        >>> noisy(model, torch.zeros(5, 4), deviation=0.1).shape
        torch.Size([5])
    """
    deviation = noise_of(model, "deviation", deviation)
    levels = model.dequantisable(flattened(x, model.shape))
    uniform, normal = (
        draw(levels.shape, generator=generator, dtype=levels.dtype, device=levels.device)
        for draw in (torch.rand, torch.randn)
    )
    y = levels + uniform + normal * (deviation * model.levels / 2)
    return model.log_density(y.to(at_least_single(model.like.dtype)), context=context)
