"""Everything that a VAE run depends on."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, cast

try:
    from pydantic import model_validator
except ImportError as error:
    raise ImportError('the settings of a run need pydantic: pip install "invflow[vae]"') from error

from invflow.images.config import Format as ImageFormat
from invflow.runs.settings import (
    DEVICE,
    MODEL,
    TRAINING,
    Accelerator,
    Compile,
    Count,
    HiddenFeatures,
    LearningRate,
    NotNegative,
    Positive,
    Precision,
    Seed,
    Steps,
    argument,
    setting,
)
from invflow.runs.settings import (
    Config as RunConfig,
)
from invflow.vae.presets import PRESETS

LikelihoodName = Literal[
    "auto",
    "bernoulli",
    "logistic",
    "shared-logistic",
    "logistic-mixture",
    "categorical",
    "gaussian",
]

Values = dict[str, Any]
#: Settings of a "resnet-vae" alone.
RESNET = ("depths", "feature_maps", "latent_maps")


class Config(RunConfig):
    """The settings of a VAE run; together with its images and the versions, all that repeats it."""

    presets: ClassVar = PRESETS

    data: Annotated[
        str,
        argument(
            "Images to learn: photographs, digits, mnist, fashion-mnist, cifar10 or freyfaces; a "
            "folder of image files, optionally with subfolders train, validation and test; or an "
            ".npz file with train_images and test_images, or with one array of shape (count, "
            "height, width) or (count, height, width, 3). Integers are grey levels; floating-point "
            "numbers in [0, 1] are probabilities of white. --conditional also needs classes: a "
            "folder for each class, or labels beside the images in the .npz file.",
            metavar="DATA",
        ),
    ] = "digits"
    size: Annotated[
        Count | None,
        setting("Resize and crop images to this many pixels per side.", MODEL, shown="as they are"),
    ] = None
    likelihood: Annotated[
        LikelihoodName, setting("Likelihood of a pixel; auto chooses by the grey levels.", MODEL)
    ] = "auto"
    binarisation: Annotated[
        Literal["dynamic", "fixed"],
        setting(
            "How grey images become black and white under a Bernoulli likelihood: at random each "
            "time they are read, or once.",
            MODEL,
        ),
    ] = "dynamic"
    posteriors: Annotated[
        tuple[str, ...],
        setting(
            "Approximate posteriors to train side by side: diagonal, full, iaf, ...; for "
            "resnet-vae also bottom-up-iaf, ...",
            MODEL,
            shown="diagonal, full, iaf; for resnet-vae diagonal, iaf",
            metavar="NAME,...",
            min_length=1,
        ),
    ] = ("diagonal", "full", "iaf")
    prior: Annotated[
        Literal["normal", "vamp", "autoregressive"], setting("Prior of the latents.", MODEL)
    ] = "normal"
    conditional: Annotated[
        bool,
        setting(
            "Learn the images given their class: the folder that each is in, or its label.", MODEL
        ),
    ] = False
    network: Annotated[
        Literal["mlp", "gated", "resnet", "resnet-vae"],
        setting("Encoder and decoder; resnet-vae has latents in every layer.", MODEL),
    ] = "mlp"
    latents: Annotated[Count, setting("Number of latent features; not for resnet-vae.", MODEL)] = 16
    hidden_features: HiddenFeatures = None
    context: Annotated[
        Count, setting("Size of the encoder's output; not for resnet-vae.", MODEL)
    ] = 64
    depths: Annotated[
        tuple[Count, ...],
        setting(
            "Number of layers at each resolution, from the highest; only for resnet-vae.",
            MODEL,
            metavar="N,...",
            min_length=1,
        ),
    ] = (4,)
    feature_maps: Annotated[
        Count, setting("Number of feature maps; only for resnet-vae.", MODEL)
    ] = 32
    latent_maps: Annotated[
        Count, setting("Number of latent maps per layer; only for resnet-vae.", MODEL)
    ] = 8
    flow_transforms: Annotated[
        Count | None,
        setting(
            "Number of transforms in the posterior's flow.", MODEL, shown="4; for resnet-vae 1"
        ),
    ] = None
    flow_hidden_features: Annotated[
        tuple[Count, ...] | None,
        setting(
            "Widths of the hidden layers of the posterior's flow.",
            MODEL,
            shown="128; for resnet-vae its feature maps",
            metavar="N,...",
        ),
    ] = None
    beta: Annotated[NotNegative, setting("Weight of the KL divergence.", TRAINING)] = 1.0
    warmup: Annotated[
        int | None,
        setting(
            "Number of updates over which that weight rises from 0.",
            TRAINING,
            shown="a third of all, at most 10,000; 0 with free bits or several train samples",
            ge=0,
        ),
    ] = None
    free_bits: Annotated[
        NotNegative, setting("Nats that each group of latents may use for free.", TRAINING)
    ] = 0.0
    train_samples: Annotated[
        Count,
        setting(
            "Importance samples in the training bound; 1 for the evidence lower bound.", TRAINING
        ),
    ] = 1
    optimizer: Annotated[Literal["adamw", "adam", "adamax"], setting("Optimizer.", TRAINING)] = (
        "adamw"
    )
    learning_rate: LearningRate = 1e-3
    schedule: Annotated[
        Literal["cosine", "constant"], setting("Schedule of the learning rate.", TRAINING)
    ] = "cosine"
    weight_decay: Annotated[
        NotNegative | None, setting("Weight decay, for adamw.", TRAINING, shown="0.1 with adamw")
    ] = None
    averaging_decay: Annotated[
        float,
        setting(
            "Decay of the moving average of the weights, which is then evaluated; 0 for none.",
            TRAINING,
            ge=0,
            lt=1,
        ),
    ] = 0.0
    max_gradient_norm: Annotated[Positive, setting("Clip gradients to this norm.", TRAINING)] = 50.0
    steps: Steps = 6000
    batch_size: Annotated[Count, setting("Images per update, over all devices.", TRAINING)] = 128
    evaluate_every: Annotated[
        Count, setting("Number of updates between evaluations and checkpoints.", TRAINING)
    ] = 200
    importance_samples: Annotated[
        Count,
        setting("Importance samples per image for the log-likelihood of test images.", TRAINING),
    ] = 500
    seed: Seed = 0
    accelerator: Accelerator = "cpu"
    devices: Annotated[Count, setting("Number of devices to train on.", DEVICE)] = 1
    precision: Precision = "32-true"
    compile: Compile = False

    @model_validator(mode="before")
    @classmethod
    def _default(cls, values: Any) -> Any:
        """Leave out of a ResNet VAE's default posteriors the one that it does not have."""
        if isinstance(values, dict) and cast(Values, values).get("network") == "resnet-vae":
            return {"posteriors": ("diagonal", "iaf"), **cast(Values, values)}
        return cast(Any, values)

    @model_validator(mode="after")
    def _check(self) -> Self:
        """See that every setting that was changed applies to the network."""
        resnet = self.network == "resnet-vae"
        for name in ("latents", "hidden_features", "context", "prior") if resnet else RESNET:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} does not apply to network {self.network!r}")
        if len(set(self.posteriors)) < len(self.posteriors):
            raise ValueError(f"posteriors must differ, got {', '.join(self.posteriors)}")
        return self


class Format(ImageFormat):
    """The images that a run's models are for.

    Attributes:
        likelihood: one of `LIKELIHOODS`.
    """

    likelihood: str
