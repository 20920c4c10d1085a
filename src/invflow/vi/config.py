"""Everything that the run of a posterior depends on."""

from __future__ import annotations

from typing import Annotated

try:
    from pydantic import Field
except ImportError as error:
    raise ImportError('the settings of a run need pydantic: pip install "invflow[vi]"') from error

from invflow.runs.settings import TRAINING, Seed, argument, setting
from invflow.runs.settings import Config as RunConfig
from invflow.vi.fitting.training import Settings


class Config(RunConfig):
    """The settings of a posterior run; with its model, data and the versions, all it depends on."""

    model: Annotated[
        str,
        argument(
            "Python file, which is run and defines target, or log_density and dim, or model; or a "
            "Stan program.",
            metavar="MODEL",
        ),
    ]
    data: Annotated[
        str | None,
        setting("JSON object with the model's data.", "Model", metavar="FILE.json"),
    ] = None
    draws: Annotated[int, setting("Number of draws to write.", TRAINING, ge=100)] = 4000
    seed: Seed = 0
    settings: Annotated[Settings, Field(description="How the flow is trained.")] = Settings()
