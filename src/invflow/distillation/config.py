"""Everything that a student of a density depends on."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Config(BaseModel):
    """The settings of a student; together with its teacher, all that repeats it.

    Attributes:
        teacher: directory of the teacher's run.
        flow: name of the student's flow.
        transforms: number of transforms; None for the flow's own default.
        hidden_features: widths of hidden layers; None for the flow's own default.
        univariate: the map of each feature by name; None for the flow's own default.
        reverse: weight of KL(student || teacher).
        forward: weight of KL(teacher || student), on draws of the teacher.
        moments: weight of the difference between means and covariances.
        steps: number of updates.
        batch_size: draws per update.
        learning_rate: Adam's at the start.
        draws: of each, by which they are compared in the end.
        seed: of everything random.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str
    flow: str = "iaf"
    transforms: Count | None = None
    hidden_features: tuple[Count, ...] | None = None
    univariate: str | None = None
    reverse: Weight = 1.0
    forward: Weight = 0.0
    moments: Weight = 0.0
    steps: Count = 3000
    batch_size: Annotated[int, Field(ge=2)] = 256
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    draws: Annotated[int, Field(ge=100)] = 10_000
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
