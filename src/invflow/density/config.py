"""Everything that a run of a table's density depends on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

try:
    from pydantic import BeforeValidator, Field
except ImportError as error:
    raise ImportError(
        'the settings of a run need pydantic: pip install "invflow[density]"'
    ) from error

from invflow.density.table.dialect import GROUP, Dialect
from invflow.runs.settings import (
    COLUMNS,
    MODEL,
    TRAINING,
    Accelerator,
    Compile,
    Count,
    FlowName,
    Fraction,
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

#: The default of settings that follow from the number of rows (`learning.defaults`).
BY_SIZE = "depends on the size of the table"
KindName = Literal["continuous", "integer", "date", "categorical", "ordinal"]
Bound = Annotated[float, Field(allow_inf_nan=False)]
Step = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ColumnKind = (
    KindName
    | tuple[Bound | None, Bound | None]
    | tuple[KindName, Bound | None, Bound | None]
    | tuple[Literal["grid"], Step]
    | tuple[Literal["grid"], Step, Bound | None, Bound | None]
    | tuple[Literal["ordinal"], tuple[str, ...]]
)


def _column_kind(value: Any) -> Any:
    """Return the kind of a column from text, as the command line has it.

    Example:
        >>> _column_kind("integer"), _column_kind("0:1"), _column_kind("integer:0:")
        ('integer', (0.0, 1.0), ('integer', 0.0, None))
        >>> _column_kind("grid:0.5"), _column_kind("low<high")
        (('grid', 0.5), ('ordinal', ('low', 'high')))
    """
    if not isinstance(value, str) or value in get_args(KindName):
        return value
    if "<" in value:
        return "ordinal", tuple(level.strip() for level in value.split("<"))
    name, *rest = value.split(":")
    try:
        match name, [float(each) if each.strip() else None for each in rest]:
            case "grid", [float(step)]:
                return "grid", step
            case "grid", [float(step), low, high]:
                return "grid", step, low, high
            case "integer", [low, high] if (low, high) != (None, None):
                return "integer", low, high
            case _, [high] if name.strip() or high is not None:
                return float(name) if name.strip() else None, high
            case _:
                raise ValueError
    except ValueError:
        raise ValueError(
            "a kind must be integer, continuous, categorical, ordinal, date, LOW:HIGH, "
            "integer:LOW:HIGH, grid:STEP, grid:STEP:LOW:HIGH, or levels in their order, such as "
            "LOW<MIDDLE<HIGH"
        ) from None


class Config(RunConfig):
    """The settings of a density run; together with its table and the versions, all it depends on.

    Settings that `FlowDensity` has too have the names and defaults of its arguments.
    """

    data: Annotated[
        str,
        argument(
            "Table: .csv, .csv.gz, .tsv, .parquet, .npz or .npy.",
            metavar="DATA",
        ),
    ]
    reading: Dialect = Dialect()
    na: Annotated[
        tuple[str, ...],
        setting(
            "Marker of missing values, such as -999 or ?, of all columns or of one; several with "
            "commas.",
            GROUP,
            metavar="VALUE|COLUMN=VALUE",
            repeated=True,
        ),
    ] = ()
    auto: Annotated[
        bool,
        setting(
            "Accept all proposals for this table: leave out ids, free text, constant columns and "
            "copies, treat markers as missing values, and marginalise over these.",
            COLUMNS,
        ),
    ] = False
    drop: Annotated[
        tuple[str, ...],
        setting("Columns to leave out.", COLUMNS, metavar="COLUMN,...", repeated=True),
    ] = ()
    only: Annotated[
        tuple[str, ...],
        setting(
            "Columns to keep; others are left out.", COLUMNS, metavar="COLUMN,...", repeated=True
        ),
    ] = ()
    conditional_on: Annotated[
        tuple[str, ...],
        setting(
            "Column that the density is conditional on; repeat it for more.",
            COLUMNS,
            metavar="COLUMN",
            repeated=True,
        ),
    ] = ()
    kinds: Annotated[
        dict[str, Annotated[ColumnKind, BeforeValidator(_column_kind)]],
        setting(
            "Kind of a column: integer, continuous, categorical, ordinal, date (not split into "
            "week, weekday and hour), levels in their order as "
            "small<medium<large, LOW:HIGH for a continuous column with bounds (leave one out for "
            "none), integer:LOW:HIGH, or grid:STEP:LOW:HIGH for numbers that move in steps; repeat "
            "it for more.",
            COLUMNS,
            metavar="COLUMN=KIND",
        ),
    ] = {}
    missing: Annotated[
        Literal["refuse", "marginalise", "learn"],
        setting(
            "What to do with missing values: refuse them, marginalise over them, or learn where "
            "they are, so that samples have gaps too. sample --fill needs one of the latter.",
            COLUMNS,
        ),
    ] = "refuse"
    flow: FlowName = "nsf"
    transforms: Transforms = None
    hidden_features: Annotated[
        tuple[Count, ...] | None,
        setting("Widths of the hidden layers.", MODEL, shown=BY_SIZE, metavar="N,..."),
    ] = None
    ensemble: Annotated[
        Count | None,
        setting("Number of flows whose densities are averaged.", MODEL, shown=BY_SIZE),
    ] = None
    steps: Annotated[
        Count | None, setting("Maximum number of updates.", TRAINING, shown=BY_SIZE)
    ] = None
    batch_size: Annotated[Count | None, setting("Rows per update.", TRAINING, shown=BY_SIZE)] = None
    learning_rate: LearningRate = 2e-3
    weight_decay: Annotated[
        NotNegative | None, setting("Weight decay of AdamW.", TRAINING, shown=BY_SIZE)
    ] = None
    validation_fraction: Annotated[
        Fraction | None,
        setting(
            "Fraction of the training rows that decides when to stop.", TRAINING, shown=BY_SIZE
        ),
    ] = None
    patience: Annotated[
        int,
        setting("Stop after this many evaluations without improvement (0: never).", TRAINING, ge=0),
    ] = 10
    test_fraction: Annotated[
        Fraction, setting("Fraction of the rows that the density is tested on.", TRAINING)
    ] = 0.1
    seed: Seed = 0
    accelerator: Accelerator = "cpu"
    precision: Precision = "32-true"
    compile: Compile = False
