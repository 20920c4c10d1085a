"""Options of the command line: each is a field of a `Config`, and nothing is said twice."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pytest
import typer
from pydantic import Field

from invflow.cli.jobs import JOBS
from invflow.density import FlowDensity
from invflow.density.config import Config as DensityConfig
from invflow.runs.options import configured, options, parameters
from invflow.runs.settings import Config, Count, Seed, argument, setting


@dataclass(frozen=True)
class Inner:
    max_steps: int = field(default=9, metadata={"description": "Largest number of steps."})
    tolerance: float = field(default=0.5, metadata={"description": "Smallest gain."})

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance}")


class Sample(Config):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"wide": {"widths": (64, 64), "rate": 0.2}}

    data: Annotated[str, argument("A file.", metavar="DATA")]
    widths: Annotated[tuple[Count, ...] | None, setting("Widths.", "Model", shown="many")] = None
    names: Annotated[tuple[str, ...], setting("Names.", "Model", min_length=1)] = ("a", "b")
    columns: Annotated[tuple[str, ...], setting("Columns.", "Model", repeated=True)] = ()
    kinds: Annotated[dict[str, str], setting("Kinds.", "Model", metavar="COLUMN=KIND")] = {}
    way: Annotated[Literal["up", "down"], setting("Way.", "Training")] = "up"
    rate: Annotated[float, setting("Rate.", "Training", gt=0)] = 0.1
    fast: Annotated[bool, setting("Fast.", "Training")] = False
    seed: Seed = 0
    inner: Annotated[Inner, Field()] = Inner()


def test_every_field_is_an_option_of_its_type_and_default() -> None:
    found = {each.name: each for each in parameters(Sample)}
    assert list(found) == [
        *("data", "widths", "names", "columns", "kinds", "way", "rate", "fast", "seed"),
        *("max_steps", "tolerance"),
    ]
    kinds = {name: each.annotation.__origin__ for name, each in found.items()}
    assert kinds["data"] is str
    assert kinds["names"] is str
    assert kinds["columns"] == list[str] | None
    assert kinds["kinds"] == list[str] | None
    assert kinds["way"] == Literal["up", "down"]
    assert (kinds["rate"], kinds["fast"], kinds["max_steps"]) == (float, bool, int)
    assert found["data"].default is inspect.Parameter.empty
    shown = {name: each.default for name, each in found.items() if name != "data"}
    assert shown == {
        "widths": None,
        "names": "a,b",
        "columns": None,
        "kinds": None,
        "way": "up",
        "rate": 0.1,
        "fast": False,
        "seed": 0,
        "max_steps": 9,
        "tolerance": 0.5,
    }
    info = found["fast"].annotation.__metadata__[0]
    assert (info.help, info.rich_help_panel) == ("Fast.", "Training")
    assert isinstance(found["data"].annotation.__metadata__[0], type(typer.Argument()))


def test_what_is_given_becomes_settings() -> None:
    given = {
        "data": "x.csv",
        "widths": "8, 16",
        "names": "c",
        "columns": ["p,q", "r"],
        "kinds": ["a=b=integer"],
        "way": "down",
        "fast": True,
        "max_steps": 3,
    }
    found = configured(Sample, given, None)
    assert found == Sample(
        data="x.csv",
        widths=(8, 16),
        names=("c",),
        columns=("p,q", "r"),
        kinds={"a=b": "integer"},
        way="down",
        fast=True,
        inner=Inner(max_steps=3),
    )
    assert configured(Sample, {"data": "x", "widths": ""}, None).widths == ()


def test_options_take_precedence_over_a_preset() -> None:
    found = configured(Sample, {"data": "x", "rate": 0.3}, "wide")
    assert (found.widths, found.rate) == ((64, 64), 0.3)
    with pytest.raises(ValueError, match="--preset must be one of wide, got 'narrow'"):
        configured(Sample, {"data": "x"}, "narrow")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 0.0}, "--rate must be greater than 0, got 0.0"),
        ({"widths": "8,x"}, "--widths must be a valid integer, got 'x'"),
        ({"kinds": ["a"]}, "--kinds must be COLUMN=KIND, got 'a'"),
        ({"kinds": ["a=b", "a=c"]}, "--kinds names 'a' twice"),
        ({"names": ""}, "--names must have at least 1 item, got \\[\\]"),
        ({"kinds": ["=b"]}, "--kinds must be COLUMN=KIND, got '=b'"),
        ({"max_steps": "x"}, "--max-steps must be a valid integer, got 'x'"),
        ({"tolerance": -1.0}, "tolerance must be at least 0, got -1.0"),
        ({"seed": -1}, "--seed must be greater than or equal to 0, got -1"),
        ({"data": "a\udce4"}, r"'a\\udce4' is not valid text"),
    ],
)
def test_what_is_wrong_is_said_of_the_option(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        configured(Sample, {"data": "x"} | given, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_every_setting_has_help_and_one_name(job: Any) -> None:
    found = list(options(job.config))
    names = [each.name for each in found]
    assert len(set(names)) == len(names)
    # These are options of every command.
    assert not {"name", "runs", "overwrite", "preset", "invocation"} & set(names)
    for each in found:
        assert each.help[0].isupper(), each.name
        assert each.help.endswith("."), each.name
        # An option that is off has no --no-; one that is detected has both.
        assert each.kind is not bool or each.default in (False, None), each.name
    for name, preset in job.config.presets.items():
        assert configured(job.config, {}, name).model_dump().items() >= {**preset}.items()


def test_the_estimator_has_the_names_and_defaults_of_the_settings() -> None:
    """What is not of the run itself, of the estimator alone, or named by scikit-learn.

    What is decided about files is of the run: in Python, libraries of tables have means for it.
    """
    estimator = inspect.signature(FlowDensity).parameters
    fields = DensityConfig.model_fields
    files = {"reading", "drop", "only", "na", "auto"}
    assert fields.keys() - estimator.keys() == {"data", "test_fraction", "seed", *files}
    assert estimator.keys() - fields.keys() == {"flow_options", "progress", "random_state"}
    for name in fields.keys() & estimator.keys():
        assert (fields[name].default or None) == (estimator[name].default or None), name
