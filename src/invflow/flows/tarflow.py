"""TarFlow: transformers over the patches of an image, in both directions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from invflow import _checks
from invflow.conditioners import Attention, Guided, patch_order
from invflow.flows.autoregressive import IAF, MAF, AutoregressiveFlow
from invflow.flows.flow import Flow
from invflow.flows.labels import one_hot
from invflow.transforms import Autoregressive, Compose, Inverse, Permutation

#: What a flow over patches decides for its inner flow.
_DECIDED = ("features", "conditioner", "group")


class _PatchFlow(Flow):
    """A flow by name over the patches of an image; see `TarFlow` for the arguments."""

    #: The flow over the features in the order of the patches.
    kind: ClassVar[type[AutoregressiveFlow]]

    def __init__(
        self,
        shape: Sequence[int],
        patch: int = 2,
        context: int = 0,
        transforms: int = 4,
        hidden_features: Sequence[int] = (64, 64),
        *,
        order: str = "reverse",
        checkpoint: bool = False,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        for name in _DECIDED:
            if name in options:
                raise TypeError(
                    f"{name} is decided by shape and patch in a {type(self).__name__}: leave it out"
                )
        channels, height, width = _checks.shape("shape", shape)
        entries = patch_order((channels, height, width), patch)
        flow = self.kind(
            len(entries),
            context,
            transforms,
            hidden_features,
            conditioner="attention",
            # A random order of the features would take the patches apart.
            order=_checks.choice("order", order, ("reverse", "same")),
            group=channels * patch**2,
            checkpoint=checkpoint,
            generator=generator,
            **options,
        )
        restored = Permutation(entries.argsort().to(flow.like.device))
        super().__init__(Compose([flow.transform, restored]), flow.base)
        self.shape = channels, height, width
        inner = {key: value for key, value in flow.config.items() if key not in _DECIDED}
        self.config = {"shape": [channels, height, width], "patch": patch, **inner}


class TarFlow(_PatchFlow):
    r"""Transformer autoregressive flow: a `MAF` over the patches of an image.

    The features of a patch are a group (all its pixels and channels); a causal transformer computes
    their parameters from the patches before it. The order of the patches is reversed in every other
    transform. The density of an image takes one pass per transform; sampling takes one step per
    patch, and the arithmetic of about one pass too.

    Args:
        shape: channels, height and width of the images, which the flow takes flattened.
        patch: height and width of a patch; divides those of the images.
        context: size of the context, 0 for none.
        transforms: number of autoregressive transforms, K.
        hidden_features: width of each block of a transformer, for example (128, 128, 128).
        classes: number of classes of labelled images, 0 for none. The context is then made from
            labels by `labelled`, and has this size.
        order: "reverse" (alternating) or "same".
        checkpoint: as for `MAF`.
        generator: random numbers for the initial weights; torch's own by default.
        **options: further arguments of `MAF` and `Attention`, such as `univariate` and `heads`.

    Raises:
        TypeError: if an argument has the wrong type or is unknown.
        ValueError: if a size is out of range, or there are both classes and a context.

    References:
        Zhai et al. 2024, arXiv 2412.06329.

    Example:
        >>> import torch
        >>> flow = TarFlow(shape=(1, 4, 4), patch=2, transforms=2, hidden_features=(16,))
        >>> flow().log_prob(torch.randn(5, 16)).shape
        torch.Size([5])
    """

    name: ClassVar[str | None] = "tarflow"
    kind: ClassVar[type[AutoregressiveFlow]] = MAF

    def __init__(
        self,
        shape: Sequence[int],
        patch: int = 2,
        context: int = 0,
        transforms: int = 4,
        hidden_features: Sequence[int] = (64, 64),
        *,
        classes: int = 0,
        **options: Any,
    ) -> None:
        classes = _checks.positive_integer("classes", classes, minimum=0)
        if classes and context:
            raise ValueError(f"context must be 0 with classes, got {context}")
        super().__init__(shape, patch, classes or context, transforms, hidden_features, **options)
        self.classes = classes
        self.config |= {"context": context, "classes": classes}

    def labelled(self, labels: Tensor) -> Tensor:
        """Return the context for labels: one number per class, which sum to one.

        Args:
            labels: integers, shape `batch`, from 0 to classes - 1, or -1 for an image of no known
                class, whose context is the mean of all classes.

        Returns:
            Contexts, shape (*batch, classes).

        Raises:
            TypeError: if `labels` is not a tensor of integers.
            ValueError: if the flow has no classes, or a label is out of range.

        Example:
            >>> import torch
            >>> flow = TarFlow((1, 2, 2), transforms=1, hidden_features=(8,), classes=2)
            >>> flow.labelled(torch.tensor([1, -1]))
            tensor([[0.0000, 1.0000],
                    [0.5000, 0.5000]])
        """
        if not self.classes:
            raise ValueError("labels need a flow with classes, got classes=0")
        return one_hot(labels, self.classes, self.like)

    def guided(self, weight: float) -> Flow:
        r"""Return the flow with classifier-free guidance, which shares the weights of this one.

        The parameters of every patch are moved away from those for images of no known class:
        $p = p_c + w\,(p_c - p_0)$ (see `Guided`). Train with some labels replaced by -1, so that
        the flow knows $p_0$. The guided flow is a flow too, with exact densities of its samples.

        Args:
            weight: w; 0 for no guidance, usually from 1 to 4.

        Raises:
            TypeError: if `weight` is not a number.
            ValueError: if the flow has no classes.
        """
        if not self.classes:
            raise ValueError("guidance needs a flow with classes, got classes=0")
        directed, permutation = cast(Compose, self.transform).transforms
        compose = cast(Compose, cast(Inverse, directed).transform)
        neutral = self.labelled(torch.tensor(-1))
        parts = [
            Autoregressive(
                Guided(cast(Attention, part.conditioner), neutral, weight),
                part.univariate,
                order=part.order,
                inverse=part.inverse_method,
                tolerance=part.tolerance,
                input_bound=None if part.input_bound == math.inf else part.input_bound,
            )
            for part in cast(Iterable[Autoregressive], compose.transforms)
        ]
        guided = Compose(parts, checkpoint=compose.checkpoint)
        return Flow(Compose([Inverse(guided), cast(Permutation, permutation)]), self.base)


class TarIAF(_PatchFlow):
    r"""Transformer inverse autoregressive flow: an `IAF` over the patches of an image.

    `TarFlow` in the other direction: sampling and the density of own samples take one pass per
    transform, as for the posterior of a latent image; the density of other images takes one step
    per patch, and the arithmetic of about one pass too.

    Args:
        shape: channels, height and width of the images, which the flow takes flattened.
        patch: height and width of a patch; divides those of the images.
        context: size of the context, 0 for none.
        transforms: number of autoregressive transforms, K.
        hidden_features: width of each block of a transformer, for example (128, 128, 128).
        order: "reverse" (alternating) or "same".
        checkpoint: as for `IAF`.
        generator: random numbers for the initial weights; torch's own by default.
        **options: further arguments of `IAF` and `Attention`, such as `univariate` and `heads`.

    Raises:
        TypeError: if an argument has the wrong type or is unknown.
        ValueError: if a size is out of range.

    References:
        Kingma et al. 2016, arXiv 1606.04934; Zhai et al. 2024, arXiv 2412.06329.

    Example:
        >>> import torch
        >>> flow = TarIAF(shape=(1, 4, 4), patch=2, context=3, transforms=2, hidden_features=(16,))
        >>> x, log_q = flow(torch.randn(5, 3)).rsample_and_log_prob((10,))
        >>> x.shape, log_q.shape
        (torch.Size([10, 5, 16]), torch.Size([10, 5]))
    """

    name: ClassVar[str | None] = "tariaf"
    kind: ClassVar[type[AutoregressiveFlow]] = IAF
