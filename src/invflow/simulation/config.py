"""Everything that a run of inference from simulations depends on."""

from __future__ import annotations

from typing import Annotated, Literal

try:
    from pydantic import AfterValidator, Field
except ImportError as error:
    raise ImportError(
        'the settings of a run need pydantic: pip install "invflow[simulation]"'
    ) from error

from invflow.density.table.dialect import Dialect
from invflow.runs.settings import COLUMNS, TRAINING, Fraction, Seed, argument, setting
from invflow.runs.settings import Config as RunConfig
from invflow.simulation import text
from invflow.simulation.settings import Settings


def _prior(written: str) -> str:
    text.prior(written)
    return written


class Config(RunConfig):
    """The settings of a run; together with its tables and the versions, all it depends on."""

    simulations: Annotated[
        str,
        argument(
            "Table with a simulation in each row: .csv, .csv.gz, .tsv, .parquet, .npz or .npy.",
            metavar="SIMULATIONS",
        ),
    ]
    parameters: Annotated[
        tuple[str, ...],
        setting(
            "Columns that are parameters; the others are data.",
            COLUMNS,
            metavar="NAME,...",
            min_length=1,
        ),
    ]
    observed: Annotated[
        str,
        setting(
            "Table with the observed data, which has the other columns: one row, or with nle any "
            "number of independent observations.",
            COLUMNS,
            metavar="FILE",
        ),
    ]
    prior: Annotated[
        dict[str, Annotated[str, AfterValidator(_prior)]],
        setting(
            f"Prior of a parameter that the simulations are drawn from; repeat it for more. "
            f"One of {text.FORMS}; the last two only bound the posterior.",
            COLUMNS,
            metavar="NAME=PRIOR",
            shown="real",
        ),
    ] = {}
    drop: Annotated[
        tuple[str, ...],
        setting("Columns to leave out.", COLUMNS, metavar="COLUMN,...", repeated=True),
    ] = ()
    invalid: Annotated[
        Literal["refuse", "drop"],
        setting("What to do with simulations that have missing or infinite numbers.", COLUMNS),
    ] = "refuse"
    reading: Dialect = Dialect()
    method: Annotated[
        Literal["npe", "nle"],
        setting(
            "What is learned: the posterior (npe), or the likelihood (nle), which has the evidence "
            "and a verdict, and needs distributions as priors.",
            "Model",
        ),
    ] = "npe"
    test_fraction: Annotated[
        Fraction, setting("Fraction of the simulations that judge the posteriors.", TRAINING)
    ] = 0.1
    draws: Annotated[int, setting("Number of draws to write.", TRAINING, ge=100)] = 4000
    seed: Seed = 0
    settings: Annotated[Settings, Field(description="The flow, and how it is trained.")] = (
        Settings()
    )
