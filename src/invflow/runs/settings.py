"""Settings of runs: each is one field, with its name, type, default, help and group.

A run keeps them in its `config.json`, and the command line makes an option of each (`options`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

try:
    from pydantic import BaseModel, ConfigDict, Field
except ImportError as error:
    raise ImportError('the settings of a run need pydantic: pip install "invflow[all]"') from error

COLUMNS, MODEL, TRAINING, DEVICE = "Columns", "Model", "Training", "Device"


class Config(BaseModel):
    """The settings of a run; together with its inputs and the versions, all that repeats it.

    Attributes:
        presets: settings by the name of a preset.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


def setting(
    help: str,
    group: str,
    *,
    shown: str | None = None,
    metavar: str | None = None,
    repeated: bool = False,
    **limits: Any,
) -> Any:
    """Return what a field of a `Config` is annotated with.

    Args:
        help: what the setting is.
        group: of settings, under which the help of the command line lists it.
        shown: the default as text, if the value does not say it.
        metavar: name of the value in the help.
        repeated: whether the option of a sequence is given once for each entry; otherwise entries
            are separated by commas.
        limits: as for pydantic's `Field`: `gt`, `ge`, `lt`, `min_length`, ...
    """
    extra: dict[str, Any] = {"group": group, "shown": shown, "metavar": metavar}
    extra["repeated"] = repeated
    return Field(description=help, json_schema_extra=extra, **limits)


def argument(help: str, metavar: str) -> Any:
    """Return what the field is annotated with that the command line takes without an option."""
    return Field(description=help, json_schema_extra={"group": None, "metavar": metavar})


Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]

# Settings that several kinds of runs have.
FlowName = Annotated[
    str, setting("Flow: nsf, maf, iaf, realnvp, coupling-nsf, gaussian, naf, ...", MODEL)
]
Transforms = Annotated[
    Count | None, setting("Number of transforms.", MODEL, shown="depends on the flow")
]
HiddenFeatures = Annotated[
    tuple[Count, ...] | None,
    setting("Widths of the hidden layers.", MODEL, shown="depends on the model", metavar="N,..."),
]
Steps = Annotated[Count, setting("Number of updates.", TRAINING)]
LearningRate = Annotated[Positive, setting("Learning rate at the start.", TRAINING)]
Seed = Annotated[int, setting("Random seed.", TRAINING, ge=0, lt=2**32)]
Accelerator = Annotated[
    str, setting("Device to train on: cpu, cuda or auto.", DEVICE, metavar="NAME")
]
Precision = Annotated[
    Literal["32-true", "64-true", "bf16-mixed"], setting("Floating-point precision.", DEVICE)
]
Compile = Annotated[bool, setting("Compile the model with torch.compile for training.", DEVICE)]
