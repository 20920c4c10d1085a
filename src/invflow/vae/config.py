"""Everything that a VAE run depends on."""

from __future__ import annotations

from typing import Annotated, Literal

try:
    from pydantic import BaseModel, ConfigDict, Field
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
Count = Annotated[int, Field(gt=0)]


class Config(BaseModel):
    """The settings of a run; together with the versions, all that repeats it.

    Attributes:
        data: "digits" or "mnist".
        file: an `.npz` file of images, instead of `data`.
        likelihood: "auto" for one that suits the levels, or one of `LIKELIHOODS`.
        posteriors: those to train side by side.
        latents: number of latent features.
        hidden: widths of the hidden layers of encoder and, reversed, decoder.
        context: size of the encoder's output.
        flow_steps: number of flow steps.
        flow_hidden: widths of the hidden layers of each step's network.
        steps: number of updates.
        batch_size: images per update.
        learning_rate: Adam's at the start.
        weight_decay: AdamW's.
        seed: of everything random.
        evaluate_every: steps between evaluations and checkpoints.
        importance_samples: for the log-likelihood of the test images.
        accelerator: "cpu", "cuda" or "auto".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Literal["digits", "mnist"] = "digits"
    file: str | None = None
    likelihood: LikelihoodName = "auto"
    posteriors: Annotated[tuple[str, ...], Field(min_length=1)] = ("diagonal", "iaf")
    latents: Count = 16
    hidden: tuple[Count, ...] = (256, 256)
    context: Count = 64
    flow_steps: Count = 4
    flow_hidden: tuple[Count, ...] = (128,)
    steps: Count = 6000
    batch_size: Count = 128
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    evaluate_every: Count = 200
    importance_samples: Count = 500
    accelerator: str = "cpu"


class Format(BaseModel):
    """The images that a run's models are for.

    Attributes:
        shape: height and width.
        levels: how many grey levels there are.
        likelihood: one of `LIKELIHOODS`.
        digest: of the images themselves.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[Count, Count]
    levels: Annotated[int, Field(ge=2)]
    likelihood: str
    digest: str
