"""Everything that a VAE run depends on."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

try:
    from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
except ImportError as error:
    raise ImportError('the settings of a run need pydantic: pip install "invflow[vae]"') from error

LikelihoodName = Literal[
    "auto",
    "bernoulli",
    "logistic",
    "shared-logistic",
    "logistic-mixture",
    "categorical",
    "gaussian",
]
BinarisationName = Literal["dynamic", "fixed"]
PriorName = Literal["normal", "vamp", "autoregressive"]
NetworkName = Literal["mlp", "gated", "resnet", "resnet-vae"]
OptimizerName = Literal["adamw", "adam", "adamax"]
ScheduleName = Literal["cosine", "constant"]
PrecisionName = Literal["32-true", "64-true", "bf16-mixed"]

#: The most numbers that an image may have.
LARGEST = 2**26
#: Settings of a "resnet-vae" alone.
RESNET = ("depths", "feature_maps", "latent_maps")
Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Config(BaseModel):
    """The settings of a run; together with the versions, all that repeats it.

    Attributes:
        data: a name of images, or the path of a folder or an `.npz` file.
        likelihood: "auto" for one that suits the levels, or one of `LIKELIHOODS`.
        binarisation: of grey images under a Bernoulli likelihood: "dynamic", anew each time they
            are looked at, or "fixed", once.
        posteriors: those to train side by side: of `POSTERIORS`, or for "resnet-vae" of
            `RESNET_POSTERIORS`.
        prior: one of `PRIORS`.
        network: encoder and decoder, one of `networks.NETWORKS`; or "resnet-vae", with latent maps
            in every layer and a prior of its own.
        latents: number of latent features; not for "resnet-vae".
        hidden_features: widths of an "mlp", maps of "gated" and "resnet"; None for their own.
        context: size of the encoder's output; not for "resnet-vae".
        depths: layers of a "resnet-vae" at each resolution.
        feature_maps: its feature maps.
        latent_maps: its latent maps in each layer.
        flow_transforms: number of flow steps; None for 4, in each layer of a "resnet-vae" 1.
        flow_hidden_features: widths of the hidden layers of each step's network; None for one, of
            128 units, in a "resnet-vae" of as many maps as it has features.
        beta: the weight of the divergence.
        warmup: steps over which that weight grows from 0; None for a third of all, at most 10,000,
            and for none with free bits or an importance-weighted bound.
        free_bits: nats that each group of latents has for free.
        train_samples: of the importance-weighted bound to train by; 1 for the evidence lower bound.
        optimizer: "adamw", "adam" or "adamax".
        learning_rate: the optimizer's at the start.
        schedule: of the learning rate, "cosine" or "constant".
        weight_decay: AdamW's; None for 0.1 with it, and 0 without.
        averaging_decay: decay of the moving average of the weights, which is evaluated; 0: none.
        max_gradient_norm: largest norm of a gradient.
        steps: number of updates.
        batch_size: images per update.
        seed: of everything random.
        evaluate_every: steps between evaluations and checkpoints.
        importance_samples: for the log-likelihood of the test images.
        accelerator: "cpu", "cuda" or "auto".
        devices: how many.
        precision: "32-true", "64-true" or "bf16-mixed".
        compile: whether to compile the networks while they are trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = "digits"
    likelihood: LikelihoodName = "auto"
    binarisation: BinarisationName = "dynamic"
    posteriors: Annotated[tuple[str, ...], Field(min_length=1)] = ("diagonal", "iaf")
    prior: PriorName = "normal"
    network: NetworkName = "mlp"
    latents: Count = 16
    hidden_features: tuple[Count, ...] | None = None
    context: Count = 64
    depths: Annotated[tuple[Count, ...], Field(min_length=1)] = (4,)
    feature_maps: Count = 32
    latent_maps: Count = 8
    flow_transforms: Count | None = None
    flow_hidden_features: tuple[Count, ...] | None = None
    beta: NotNegative = 1.0
    warmup: Annotated[int, Field(ge=0)] | None = None
    free_bits: NotNegative = 0.0
    train_samples: Count = 1
    optimizer: OptimizerName = "adamw"
    learning_rate: Positive = 1e-3
    schedule: ScheduleName = "cosine"
    weight_decay: NotNegative | None = None
    averaging_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_gradient_norm: Positive = 50.0
    steps: Count = 6000
    batch_size: Count = 128
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    evaluate_every: Count = 200
    importance_samples: Count = 500
    accelerator: str = "cpu"
    devices: Count = 1
    precision: PrecisionName = "32-true"
    compile: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        """See that every setting that was changed goes with the network."""
        resnet = self.network == "resnet-vae"
        for name in ("latents", "hidden_features", "context", "prior") if resnet else RESNET:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} does not go with network {self.network!r}")
        if len(set(self.posteriors)) < len(self.posteriors):
            raise ValueError(f"posteriors must differ, got {', '.join(self.posteriors)}")
        return self


class Format(BaseModel):
    """The images that a run's models are for.

    Attributes:
        shape: channels, height and width.
        levels: how many grey levels there are.
        likelihood: one of `LIKELIHOODS`.
        digest: of the images themselves.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[Count, Count, Count]
    levels: Annotated[int, Field(ge=2, le=256)]
    likelihood: str
    digest: str

    @field_validator("shape")
    @classmethod
    def _check_shape(cls, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """See that an image is not larger than any that could be learned."""
        if math.prod(shape) > LARGEST:
            raise ValueError(f"an image must be of at most {LARGEST:,} numbers")
        return shape
