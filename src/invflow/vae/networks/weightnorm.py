"""Layers with weight normalisation, and their data-dependent initialisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow.vae.networks.maps import Size, output_padding


class WeightNorm(nn.Module, ABC):
    r"""A linear map whose weights are split into a length and a direction for each output.

    $$w_k = g_k\, v_k / \|v_k\|$$

    Args:
        shape: shape of the weights.
        axis: the axis of the weights that indexes the outputs k.
        channel: the axis of the map's value that indexes the outputs.
        gain: initial g at which independent unit-variance inputs give unit-variance outputs.
        scale: initial standard deviation of the outputs.

    References:
        Salimans and Kingma 2016, arXiv 1602.07868.
    """

    def __init__(
        self, shape: tuple[int, ...], axis: int, channel: int, gain: float, scale: float
    ) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.empty(shape))
        self.g = nn.Parameter(torch.full((shape[axis],), gain * scale))
        self.bias = nn.Parameter(torch.zeros(shape[axis]))
        self.channel = channel
        self.scale = scale
        self._inputs = [other for other in range(len(shape)) if other != axis]
        nn.init.normal_(self.v, std=0.05)

    @property
    def weight(self) -> Tensor:
        """The weights, with the shape of v."""
        length = torch.linalg.vector_norm(self.v, dim=self._inputs, keepdim=True)
        return self.v * (self.g.view_as(length) / length)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the map's value at `x`."""


class WeightNormLinear(WeightNorm):
    """A fully connected layer with weight normalisation.

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        scale: initial standard deviation of each output.

    Example:
        >>> import torch
        >>> layer = WeightNormLinear(3, 2)
        >>> x = torch.randn(50, 3)
        >>> with starting(layer):
        ...     std, mean = torch.std_mean(layer(x), 0, correction=0)
        >>> torch.allclose(mean, torch.zeros(2), atol=1e-5), torch.allclose(std, torch.ones(2))
        (True, True)
    """

    def __init__(self, inputs: int, outputs: int, *, scale: float = 1.0) -> None:
        super().__init__((outputs, inputs), 0, -1, 1.0, scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return (*batch, outputs) of `x`, (*batch, inputs)."""
        return F.linear(x, self.weight, self.bias)


class WeightNormConv2d(WeightNorm):
    """A convolution with weight normalisation, padded by half of its odd kernel.

    Args:
        inputs: number of input maps.
        outputs: number of output maps.
        kernel_size: height and width of the kernel, odd.
        stride: stride s, which maps height and width n to ceil(n / s).
        scale: initial standard deviation of each output map.

    Example:
        >>> import torch
        >>> WeightNormConv2d(1, 4, 3, stride=2)(torch.randn(5, 1, 7, 8)).shape
        torch.Size([5, 4, 4, 4])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        stride: int = 1,
        *,
        scale: float = 1.0,
    ) -> None:
        super().__init__((outputs, inputs, kernel_size, kernel_size), 0, -3, 1.0, scale)
        self.stride = stride
        self.padding = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (batch, outputs, height, width) of `x`, (batch, inputs, height, width)."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class WeightNormConvTranspose2d(WeightNorm):
    """A transposed convolution with weight normalisation, which undoes a convolution's stride.

    Args:
        inputs: number of input maps.
        outputs: number of output maps.
        kernel_size: height and width of the kernel, odd.
        stride: stride of the convolution.
        size: height and width of its input, which are those of this layer's output.
        scale: initial standard deviation of each output map.

    Example:
        >>> import torch
        >>> layer = WeightNormConvTranspose2d(4, 1, 3, stride=2, size=(7, 8))
        >>> layer(torch.randn(5, 4, 4, 4)).shape
        torch.Size([5, 1, 7, 8])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        stride: int,
        size: Size,
        *,
        scale: float = 1.0,
    ) -> None:
        # Each output pixel reads one in stride x stride of the kernel's taps.
        super().__init__((inputs, outputs, kernel_size, kernel_size), 1, -3, float(stride), scale)
        self.stride = stride
        self.padding = kernel_size // 2
        self.output_padding = output_padding(size, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (batch, outputs, height, width) of `x`, (batch, inputs, height, width)."""
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding
        )


@contextmanager
def starting(module: nn.Module) -> Generator[None]:
    """Initialise the weight-normalised layers of a module from the data that pass through it.

    Inside the block, each layer that is called sets its g and bias so that each of its outputs has
    mean zero and standard deviation `scale` over the batch (and over space), and returns these
    outputs. An output that is constant in the batch is centred and keeps its g; one with a NaN or
    infinity keeps both. No random numbers are used and no gradients are recorded. Outside the block
    the layers do not depend on the batch.

    Call the module itself, not its compiled version, and call it with the same batch in every
    process.

    Args:
        module: the module whose layers are initialised.

    References:
        Salimans and Kingma 2016, arXiv 1602.07868, section 3.

    Example:
        >>> import torch
        >>> layer = WeightNormLinear(1, 1)
        >>> with starting(layer):
        ...     layer(torch.tensor([[3.0], [7.0]])).abs().squeeze().round(decimals=3)
        tensor([1., 1.])
    """
    layers = [layer for layer in module.modules() if isinstance(layer, WeightNorm)]
    hooks = [layer.register_forward_hook(_start) for layer in layers]
    try:
        with torch.no_grad():
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _start(layer: WeightNorm, inputs: tuple[Any, ...], outputs: Tensor) -> Tensor:
    rows = outputs.movedim(layer.channel, -1).flatten(0, -2)
    rounding = 8 * torch.finfo(rows.dtype).eps * rows.abs().amax()
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    std, mean = torch.std_mean(rows, 0, correction=0)
    mean = torch.where(torch.isfinite(mean), mean, 0.0)
    factor = torch.where(torch.isfinite(std) & (std > rounding), layer.scale / std, 1.0)
    layer.g.mul_(factor)
    layer.bias.sub_(mean).mul_(factor)
    return layer.forward(*inputs)
