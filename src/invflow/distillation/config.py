"""Everything that a student of a density depends on."""

from __future__ import annotations

from typing import Annotated

from invflow.runs.settings import (
    MODEL,
    TRAINING,
    FlowName,
    HiddenFeatures,
    LearningRate,
    NotNegative,
    Seed,
    Steps,
    Transforms,
    argument,
    setting,
)
from invflow.runs.settings import (
    Config as RunConfig,
)


class Config(RunConfig):
    """The settings of a student; together with its teacher and the versions, all it depends on."""

    teacher: Annotated[str, argument("Directory of a finished density run.", metavar="RUN")]
    flow: FlowName = "iaf"
    transforms: Transforms = None
    hidden_features: HiddenFeatures = None
    univariate: Annotated[
        str | None,
        setting(
            "Map of each feature: affine, gated, spline, ...", MODEL, shown="depends on the flow"
        ),
    ] = None
    reverse: Annotated[NotNegative, setting("Weight of KL(student || teacher).", TRAINING)] = 1.0
    forward: Annotated[
        NotNegative, setting("Weight of KL(teacher || student), which covers all modes.", TRAINING)
    ] = 0.0
    moments: Annotated[
        NotNegative, setting("Weight of the difference of means and covariances.", TRAINING)
    ] = 0.0
    steps: Steps = 3000
    batch_size: Annotated[int, setting("Draws per update.", TRAINING, ge=2)] = 256
    learning_rate: LearningRate = 1e-3
    evaluation_draws: Annotated[
        int, setting("Draws from student and teacher for the final comparison.", TRAINING, ge=100)
    ] = 10_000
    seed: Seed = 0
