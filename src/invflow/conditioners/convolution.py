"""A masked convolutional network, for latent variables that are images."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks
from invflow.conditioners import groups
from invflow.conditioners.activation import ACTIVATIONS
from invflow.conditioners.base import CachedConditioner, Plan, RecordingDecoder
from invflow.conditioners.groups import Group
from invflow.conditioners.layout import Layout


def _odd(name: str, value: Any) -> int:
    size = _checks.positive_integer(name, value)
    if size % 2 == 0:
        raise ValueError(f"{name} must be odd, got {size}")
    return size


def _groups_of_a_pixel(sizes: tuple[int, ...], channels: int, pixels: int) -> Group:
    """Return the groups of each pixel's channels, of which the groups of all features consist."""
    own = sizes[: len(sizes) // pixels]
    if sum(own) != channels or own * pixels != sizes:
        raise ValueError(
            "group must divide the channels of every pixel in the same way, for example "
            f"group={channels} for whole pixels, got {len(sizes)} groups of {min(sizes)} to "
            f"{max(sizes)} features for {pixels} pixels of {channels} channels"
        )
    return groups.checked(own, channels)


@dataclasses.dataclass(frozen=True)
class ConvolutionPlan(Plan):
    """A masked convolution over plain tensors.

    Args:
        layout: which units of a pixel see which units of the same pixel: a MADE of its channels.
        height: of the map.
        width: of the map.
        kernel_size: odd.
    """

    layout: Layout
    height: int
    width: int
    kernel_size: int

    @property
    def recipe(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    @lru_cache(maxsize=256)
    def from_recipe(recipe: str) -> ConvolutionPlan:
        """Return the plan that a recipe describes; cached, because it depends on nothing else."""
        fields: dict[str, Any] = json.loads(recipe)
        layout = fields.pop("layout")
        return ConvolutionPlan(Layout.from_fields(**layout), **fields)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def radius(self) -> int:
        """How far a kernel reaches."""
        return self.kernel_size // 2

    @cached_property
    def earlier(self) -> list[tuple[int, int]]:
        """The steps (down, right) to the earlier pixels that a kernel reaches, in order."""
        reach = range(-self.radius, self.radius + 1)
        return [(y, x) for y in reach for x in reach if (y, x) < (0, 0)]

    def inside(self, pixel: int) -> tuple[int, ...]:
        """Return which of the `earlier` steps stay on the map from a pixel."""
        row, column = divmod(pixel, self.width)
        return tuple(
            tap
            for tap, (y, x) in enumerate(self.earlier)
            if row + y >= 0 and 0 <= column + x < self.width
        )

    def groups(self, features: int) -> Sequence[int]:
        return self.layout.groups * (self.height * self.width)

    @cached_property
    def sizes(self) -> list[Sequence[int]]:
        """For each layer, the number of a pixel's units that belong to each of its groups.

        These are the group's channels, and the units that can be computed once all channels before
        it are known.
        """
        starts, degrees = self.layout.starts, self.layout.degrees
        counts = [[units.count(start) for start in starts] for units in degrees[1:]]
        return [self.layout.groups, *counts]

    def mask(self, layer: int, source: int) -> Tensor:
        """Return the 0/1 matrix of what `layer` sees of `source`, [units, taps * source units].

        Earlier pixels are seen whole. The last tap is the pixel itself.
        """
        centre = self.layout.mask(layer, source)
        return torch.cat([torch.ones_like(centre)] * len(self.earlier) + [centre], 1)

    def decoder(self, offset: Tensor, weights: list[Tensor]) -> ConvolutionDecoder:
        return ConvolutionDecoder(self, offset, weights)


class _Read:
    """A masked matrix, cut into the parts that are multiplied at once.

    Args:
        source: the layer that it reads.
        matrix: shape [units, taps * source units], zero where masked.
        taps: number of pixels that it reads, its own last.
        rows: number of units of each group.
        seen: number of source units at the same pixel that the units of each group see.
    """

    def __init__(
        self, source: int, matrix: Tensor, taps: int, rows: Sequence[int], seen: Sequence[int]
    ) -> None:
        self.source = source
        self._nothing = matrix[:, :0]
        *self._earlier, own = matrix.split(matrix.shape[1] // taps, 1)
        self._joined: dict[tuple[int, ...], Tensor] = {}
        self.own = [group[:, :n] for group, n in zip(own.split(list(rows)), seen, strict=True)]

    def earlier(self, taps: tuple[int, ...]) -> Tensor:
        """Return the columns of some earlier pixels, side by side."""
        if taps not in self._joined:
            self._joined[taps] = torch.cat([self._nothing, *(self._earlier[t] for t in taps)], 1)
        return self._joined[taps]


class ConvolutionDecoder(RecordingDecoder):
    """Computes, for each group, the units of its pixel that have just become computable.

    At the start of a pixel, one product per layer adds the contribution of earlier pixels; then,
    for each group of channels, one more adds that of the pixel's own units. Of all layers, only
    pixels that a kernel can still reach are kept.

    Args:
        plan: the structure.
        offset: the first layer's pre-activations without its features, [pixels * units, batch].
        weights: biases of the later layers, then masked matrices in the order of `layout.blocks`.
    """

    def __init__(self, plan: ConvolutionPlan, offset: Tensor, weights: Sequence[Tensor]) -> None:
        super().__init__(offset)
        layout = plan.layout
        depth = len(layout.hidden)
        taps = len(plan.earlier) + 1
        self._plan = plan
        self._activation = ACTIVATIONS[layout.activation].function
        self._offsets = offset.unflatten(0, (plan.height * plan.width, -1)).unbind(0)
        self._biases = [bias.unsqueeze(1) for bias in weights[:depth]]
        self._reads: list[list[_Read]] = [[] for _ in layout.degrees]
        for (layer, source), matrix in zip(layout.blocks, weights[depth:], strict=True):
            rows = plan.sizes[layer]
            seen = layout.starts if source == 0 else list(accumulate(plan.sizes[source]))
            self._reads[layer].append(_Read(source, matrix, taps, rows, seen))
        reach = plan.radius * (plan.width + 1)
        self._kept: list[deque[Tensor]] = [deque(maxlen=reach) for _ in range(depth + 1)]
        self._empty = offset[:0]

    def _open(self, pixel: int) -> None:
        """Start a pixel with the contribution of earlier pixels to all its units."""
        taps = self._plan.inside(pixel)
        steps = [y * self._plan.width + x for y, x in (self._plan.earlier[t] for t in taps)]
        around = [torch.cat([self._empty, *(kept[s] for s in steps)]) for kept in self._kept]
        self._rows: list[Sequence[Tensor]] = []
        for layer, reads in enumerate(self._reads[1:], start=1):
            rows = self._offsets[pixel] if layer == 1 else self._biases[layer - 2]
            for read in reads:
                rows = torch.addmm(rows, read.earlier(taps), around[read.source])
            self._rows.append(rows.split(list(self._plan.sizes[layer])))
        self._values = [self._empty] * len(self._kept)

    def _parameters(self, group: int) -> Tensor:
        pixel, part = divmod(group, len(self._plan.layout.groups))
        if part == 0:
            self._open(pixel)
        rows = self._empty
        for layer, parts in enumerate(self._rows, start=1):
            rows = parts[part]
            for read in self._reads[layer]:
                rows = torch.addmm(rows, read.own[part], self._values[read.source])
            if layer < len(self._values):
                self._extend(layer, self._activation(rows))
        return rows

    def append(self, group: int, z: Tensor) -> None:
        self._extend(0, z)
        if (group + 1) % len(self._plan.layout.groups) == 0:
            for kept, values in zip(self._kept, self._values, strict=True):
                kept.append(values)

    def _extend(self, layer: int, rows: Tensor) -> None:
        self._values[layer] = torch.cat([self._values[layer], rows])


class MaskedConvolution(CachedConditioner):
    r"""A masked convolutional network: autoregressive over the pixels and channels of a map.

    $$a_1 = (M_1 \circ W_1) * z + C * (c, \bar c) + b_1, \qquad
    a_l = (M_l \circ W_l) * \phi(a_{l-1}) + b_l$$

    with maps z of shape (channels, height, width), convolutions $*$ that preserve height and width,
    and an activation $\phi$. The features are a map's entries pixel by pixel, row by row, and
    channel by channel within a pixel: `maps.movedim(-3, -1).flatten(-3)`. A transform with the
    order `raster_order(shape)` takes flattened maps, `maps.flatten(-3)`, instead. (A flow built by
    name takes the vectors as they are, or reversed, which rotates the map by half a turn. A random
    order would destroy the neighbourhoods.)

    *Masks.* A kernel sees all units of the earlier pixels in its k x k window: the rows above, and
    the pixels to the left. Within its own pixel, the units of each layer form a MADE of the
    channels (see `Layout`): hidden units have degrees 0 .. channels - 1, a unit of degree m sees
    channels and units of degree up to m, and the parameters of a channel see only earlier channels
    (of a group of channels, only earlier groups). Hidden layers that are narrower than the number
    of groups cannot carry them all; in that case the outputs also read z directly.

    *Reach.* A parameter depends on every earlier group of channels of its own pixel, and on all
    channels of the earlier pixels that n convolutions (hidden layers and the output) of radius r =
    (k - 1) / 2 reach: up to r n rows up, up to r n columns to the left, and up to r min(rows up, n)
    columns to the *right*, because only a step upwards can move right. This leaves a blind spot: a
    pixel further to the right than r times the number of rows between is never seen, however many
    layers there are. Transforms that take the map in reverse see it from the other side. All
    earlier pixels are seen if r n is at least max(height, width) - 1, and either height is 1 or r
    is at least width - 1.

    *Context.* The context is maps c of shape (context / (height width), height, width), flattened
    by torch; $\bar c$ is the same maps rotated by half a turn, as a transform that takes the
    features in reverse sees them. A convolution without a mask, k x k or smaller, adds them to the
    first layer: each parameter sees the context around its own pixel and, through later layers,
    around earlier pixels.

    Args:
        features: number of features, D = channels height width.
        start: the value each parameter of a feature starts from; its length is P.
        hidden_features: number of maps in each hidden layer; may be empty.
        context: size of the context, 0 for none; must be a multiple of height * width.
        shape: channels, height and width of the maps.
        kernel_size: k, an odd number.
        context_kernel_size: kernel size of the context's convolution, odd; None for k.
        activation: a name in `ACTIVATIONS`.
        group: as for `MADE`; a pixel must consist of whole groups, the same in each. With the
            number of channels, the pixels are the groups.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size or width is below 1, `shape` does not have `features` entries, a
            kernel size is even, the context is not made of maps, `activation` is unknown, or
            `group` does not divide pixels alike.

    References:
        Kingma et al. 2016, arXiv 1606.04934, appendix C; masks and blind spot: van den Oord et al.
        2016, arXiv 1601.06759 and 1606.05328.

    Example:
        >>> import torch
        >>> maps = torch.randn(5, 2, 3, 3)
        >>> network = MaskedConvolution(18, (0.0, 0.0), (8, 8), context=9, shape=(2, 3, 3))
        >>> network(maps.movedim(1, -1).flatten(1), torch.randn(5, 9)).shape
        torch.Size([5, 18, 2])
    """

    def __init__(
        self,
        features: int,
        start: Sequence[float],
        hidden_features: Sequence[int] = (64, 64),
        context: int = 0,
        *,
        shape: Sequence[int],
        kernel_size: int = 3,
        context_kernel_size: int | None = None,
        activation: str = "elu",
        group: int | Sequence[int] = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        features = _checks.positive_integer("features", features)
        start = _checks.numbers("start", start)
        context = _checks.positive_integer("context", context, minimum=0)
        hidden = _checks.widths("hidden_features", hidden_features)
        channels, height, width = _checks.shape("shape", shape)
        if channels * height * width != features:
            raise ValueError(
                f"shape must have {features} entries, one for each feature, "
                f"got {(channels, height, width)} with {channels * height * width}"
            )
        if context % (height * width):
            raise ValueError(
                f"context must be whole maps of {height} x {width}, a multiple of "
                f"{height * width}, got {context}"
            )
        kernel_size = _odd("kernel_size", kernel_size)
        around = kernel_size
        if context_kernel_size is not None:
            around = _odd("context_kernel_size", context_kernel_size)
        _checks.choice("activation", activation, ACTIVATIONS)
        super().__init__(features, len(start), context, group)
        own = _groups_of_a_pixel(self.groups, channels, height * width)
        # Degree 0 is always needed: those units see the earlier pixels.
        layout = Layout(channels, len(start), hidden, True, False, activation, group=own)
        self.plan = self._plan = ConvolutionPlan(layout, height, width, kernel_size)

        units = [len(degrees) for degrees in layout.degrees]
        masks = [self._plan.mask(*block) for block in layout.blocks]
        self.weights = nn.ParameterList(torch.empty(mask.shape) for mask in masks)
        self.biases = nn.ParameterList(torch.zeros(size) for size in units[1:])
        self._context_kernel_size = around
        inputs = 2 * context // (height * width) * around**2
        self.context_weight = nn.Parameter(torch.empty(units[1], inputs)) if context else None
        self.keep_constants()
        self._initialise(start, generator)

    def constants(self) -> dict[str, Tensor]:
        blocks = enumerate(self._plan.layout.blocks)
        return {f"mask_{i}": self._plan.mask(*block) for i, block in blocks}

    @torch.no_grad()
    def _initialise(self, start: Sequence[float], generator: torch.Generator | None) -> None:
        """Orthogonal weights: small gain in hidden layers, near zero for the outputs."""
        layout = self._plan.layout
        for (layer, _), weight in zip(layout.blocks, self.weights, strict=True):
            nn.init.orthogonal_(weight, 0.7 if layer <= len(layout.hidden) else 0.01, generator)
        if self.context_weight is not None:
            nn.init.orthogonal_(self.context_weight, 0.7 if layout.hidden else 0.01, generator)
        last = self.biases[-1]
        last.copy_(torch.tensor(start, dtype=last.dtype).repeat(layout.features))

    def _masked(self, block: int) -> Tensor:
        return self.weights[block] * getattr(self, f"mask_{block}")

    def _convolution(self, block: int, values: Tensor) -> Tensor:
        """Convolve with one masked matrix, whose taps are the first of a kernel, row by row."""
        radius, taps = self._plan.radius, len(self._plan.earlier) + 1
        kernel = self._masked(block).unflatten(1, (taps, -1)).movedim(1, -1)
        kernel = F.pad(kernel, (0, radius)).unflatten(-1, (radius + 1, -1))
        return F.conv2d(F.pad(values, (radius, radius, radius, 0)), kernel)

    def _offset(self, context: Tensor | None) -> Tensor:
        """Return the first layer without the contribution of z, ([*batch,] units, height, width).

        Without a context, height and width are 1.
        """
        plan, bias = self._plan, self.biases[0]
        if self.context_weight is None or context is None:
            return bias[:, None, None]
        maps = context.reshape(-1, self.context // (plan.height * plan.width), *plan.size)
        both = torch.cat([maps, maps.flip(-2, -1)], 1)
        size = self._context_kernel_size
        kernel = self.context_weight.unflatten(1, (both.shape[1], size, size))
        rows = F.conv2d(both, kernel, bias, padding=size // 2)
        return rows.reshape(*context.shape[:-1], *rows.shape[1:])

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        _checks.event("z", z, self.features, self.biases[0])
        _checks.context(context, self.context, z.shape[:-1], self.biases[0])
        layout, size = self._plan.layout, self._plan.size
        activation = ACTIVATIONS[layout.activation].function
        maps = z.reshape(-1, *size, layout.features).movedim(-1, 1)
        rows = self._convolution(0, maps)
        rows = rows.reshape(*z.shape[:-1], *rows.shape[1:]) + self._offset(context)
        rows = rows.reshape(-1, *rows.shape[-3:])
        for block, bias in enumerate(list(self.biases)[1:], start=1):
            rows = self._convolution(block, activation(rows)) + bias[:, None, None]
        if layout.direct:
            rows = rows + self._convolution(len(self.biases), maps)
        return rows.movedim(1, -1).reshape(*z.shape, self.outputs).to(z.dtype)

    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        offset = self._offset(context).to(self.biases[0].dtype)
        offset = offset.expand(*batch, -1, *self._plan.size).movedim(-3, -1).flatten(-3)
        matrices = [self._masked(block) for block in range(len(self.weights))]
        return offset.reshape(-1, offset.shape[-1]).t(), [*list(self.biases)[1:], *matrices]

    @classmethod
    def plan_from(cls, recipe: str) -> ConvolutionPlan:
        return ConvolutionPlan.from_recipe(recipe)
