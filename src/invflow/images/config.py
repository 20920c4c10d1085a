"""Everything that a run of a density of images depends on."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

try:
    from pydantic import BaseModel, ConfigDict, Field, model_validator
except ImportError as error:
    raise ImportError(
        'the settings of a run need pydantic: pip install "invflow[images]"'
    ) from error

from invflow.runs.settings import (
    TRAINING,
    Accelerator,
    Compile,
    Count,
    FlowName,
    HiddenFeatures,
    LearningRate,
    NotNegative,
    Precision,
    Seed,
    Transforms,
    argument,
    setting,
)
from invflow.runs.settings import (
    Config as RunConfig,
)

#: The group of the settings that only images have.
IMAGES = "Images"
#: The most numbers that an image may have.
LARGEST = 2**26
#: The margin of the logit unless another is given.
ALPHA = 0.05


class Config(RunConfig):
    """The settings of a run; together with its images and the versions, all that repeats it."""

    data: Annotated[
        str,
        argument(
            "Images: photographs, digits, mnist, fashion-mnist, cifar10 or freyfaces; a folder of "
            "image files; or an .npz file with arrays of images. All as for `invflow vae`.",
            metavar="DATA",
        ),
    ]
    size: Annotated[
        Count | None,
        setting(
            "Resize and crop images to this many pixels per side.", IMAGES, shown="as they are"
        ),
    ] = None
    conditional: Annotated[
        bool,
        setting(
            "Learn the images given their class: the folder that each is in, or its label.", IMAGES
        ),
    ] = False
    label_dropout: Annotated[
        NotNegative | None,
        setting(
            "Fraction of training images whose class is hidden, which --guidance of `invflow "
            "sample` needs; only with --conditional.",
            IMAGES,
            shown="0.1",
            le=1,
        ),
    ] = None
    patch: Annotated[
        Count | None,
        setting("Height and width of the patches of a tarflow or tariaf.", IMAGES, shown="2"),
    ] = None
    logit: Annotated[
        bool | None,
        setting(
            "Learn the logits of the pixels, not the pixels themselves.",
            IMAGES,
            shown="logit; no-logit with --noise",
        ),
    ] = None
    alpha: Annotated[
        float | None,
        setting(
            "Margin of the logit, at least 0 and below 0.5.", IMAGES, shown=f"{ALPHA}", ge=0, lt=0.5
        ),
    ] = None
    noise: Annotated[
        NotNegative,
        setting(
            "Standard deviation of Gaussian noise added to training images, on a scale from -1 "
            "to 1; samples have it taken out. Better samples, worse bits per dimension.",
            IMAGES,
        ),
    ] = 0.0
    draws: Annotated[
        Count, setting("Draws of uniform noise for each test image, for its bound.", IMAGES)
    ] = 10
    flow: FlowName = "tarflow"
    transforms: Transforms = None
    hidden_features: HiddenFeatures = None
    steps: Annotated[Count, setting("Maximum number of updates.", TRAINING)] = 3000
    batch_size: Annotated[Count, setting("Images per update.", TRAINING)] = 128
    learning_rate: LearningRate = 1e-3
    patience: Annotated[
        int,
        setting("Stop after this many evaluations without improvement (0: never).", TRAINING, ge=0),
    ] = 10
    seed: Seed = 0
    accelerator: Accelerator = "cpu"
    precision: Precision = "32-true"
    compile: Compile = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.noise and (self.logit or self.alpha is not None):
            raise ValueError(
                "noise cannot be combined with logit or alpha: noisy pixels have no logit"
            )
        if self.logit is False and self.alpha is not None:
            raise ValueError(f"alpha needs logit, got alpha={self.alpha} and logit=False")
        if self.label_dropout is not None and not self.conditional:
            raise ValueError("label_dropout needs conditional, got conditional=False")
        return self

    @property
    def margin(self) -> float | None:
        """Margin of the logit; None for no logit."""
        if self.logit is False or self.noise:
            return None
        return ALPHA if self.alpha is None else self.alpha

    @property
    def hidden_labels(self) -> float:
        """Fraction of training images whose class is hidden."""
        return 0.1 if self.label_dropout is None else self.label_dropout


class Format(BaseModel):
    """The images that a density is about.

    Attributes:
        shape: channels, height and width.
        levels: number of levels.
        digest: of the images themselves.
        classes: names of the classes that the density is given; none if it is given none.
        labels: digest of the class of each image; empty where there are no classes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[Count, Count, Count]
    levels: Annotated[int, Field(ge=2, le=256)]
    digest: str
    classes: tuple[str, ...] = ()
    labels: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if math.prod(self.shape) > LARGEST:
            raise ValueError(f"an image must have at most {LARGEST:,} numbers")
        return self

    def check(self, conditional: bool) -> None:
        """Check that there are classes and labels if a run is conditional, and only then.

        Raises:
            ValueError: if not.
        """
        if not bool(self.classes) == bool(self.labels) == conditional:
            raise ValueError("conditional runs alone have classes and labels")

    @property
    def pixels(self) -> int:
        """Numbers per image."""
        return math.prod(self.shape)

    @classmethod
    def of(cls, images: Any) -> Format:
        """Return the format of images."""
        return cls(
            shape=images.shape,
            levels=images.levels,
            digest=images.digest,
            classes=images.classes,
            labels=images.labels_digest,
        )
