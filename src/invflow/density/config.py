"""Everything that a run of a table's density depends on."""

from __future__ import annotations

from typing import Annotated, Literal

try:
    from pydantic import BaseModel, ConfigDict, Field
except ImportError as error:
    raise ImportError(
        'the settings of a run need pydantic: pip install "invflow[density]"'
    ) from error

KindName = Literal["continuous", "integer", "categorical"]
MissingName = Literal["refuse", "marginalise"]
PrecisionName = Literal["32-true", "64-true", "bf16-mixed"]

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Bound = Annotated[float, Field(allow_inf_nan=False)]


class Config(BaseModel):
    """The settings of a run; together with the versions and the data, all that repeats it.

    Attributes:
        data: path of the table.
        flow: name of the flow.
        transforms: number of transforms; None for the flow's own default.
        hidden_features: widths of hidden layers; None for the flow's own default.
        kinds: of some columns, by name: one of "continuous", "integer", "categorical"; the open
            interval (low, high) in which a continuous one lies, None where there is no bound; or
            ("integer", low, high), bounds included.
        conditional_on: names of the columns that the density is conditional on.
        missing: "refuse" missing values, or "marginalise" over them.
        steps: number of updates, at most.
        batch_size: rows per update.
        learning_rate: Adam's at the start.
        validation: share of the rows that training stops by, of those that are not for the test.
        patience: so many evaluations in succession without a gain end the training; 0 for none
            that do.
        test_fraction: share of the rows that the density is judged by, and never learns from.
        accelerator: "cpu", "cuda" or "auto".
        precision: "32-true", "64-true" or "bf16-mixed".
        compile: whether to compile the flow while it is trained.
        seed: of everything random.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    flow: str = "nsf"
    transforms: Count | None = None
    hidden_features: tuple[Count, ...] | None = None
    kinds: dict[
        str,
        KindName | tuple[Bound | None, Bound | None] | tuple[KindName, Bound | None, Bound | None],
    ] = {}
    conditional_on: tuple[str, ...] = ()
    missing: MissingName = "refuse"
    steps: Count = 3000
    batch_size: Count = 256
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3
    validation: Share = 0.1
    patience: Annotated[int, Field(ge=0)] = 10
    test_fraction: Share = 0.1
    accelerator: str = "cpu"
    precision: PrecisionName = "32-true"
    compile: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
