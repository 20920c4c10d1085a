"""Options of the command line, made from the fields of a `Config`."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin

try:
    from pydantic import ValidationError
except ImportError as error:
    raise ImportError('the settings of a run need pydantic: pip install "invflow[all]"') from error

from invflow.runs.settings import TRAINING, Config

ConfigT = TypeVar("ConfigT", bound=Config)


class Option(NamedTuple):
    """A setting as an option.

    Attributes:
        path: names of the fields that lead to it; the last one names the option.
        kind: type of its value.
        default: None if it must be given.
        help: what it is.
        extra: what `setting` or `argument` say beside.
        required: whether it must be given.
    """

    path: tuple[str, ...]
    kind: Any
    default: Any
    help: str
    extra: Mapping[str, Any]
    required: bool

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def negative(self) -> str:
        return "--no-" + self.name.replace("_", "-")

    @property
    def is_found(self) -> bool:
        """Whether it is yes or no, and found out unless one of these is given."""
        return self.kind is bool and self.default is None


def options(config: type[Config]) -> Iterator[Option]:
    """Give the options of a `Config`; a field that is a dataclass has those of its own fields."""
    for name, field in config.model_fields.items():
        kind = _plain(field.annotation)
        if dataclasses.is_dataclass(kind):
            yield from _nested(name, kind)
            continue
        extra: Any = field.json_schema_extra
        yield Option(
            (name,), kind, field.default, field.description or "", extra, field.is_required()
        )


def _nested(name: str, kind: Any) -> Iterator[Option]:
    types = inspect.get_annotations(kind, eval_str=True)
    for field in dataclasses.fields(kind):
        if "description" not in field.metadata:
            continue  # it is found, not chosen
        help = field.metadata["description"]
        path, extra = (name, field.name), {"group": TRAINING, **field.metadata}
        yield Option(path, _plain(types[field.name]), field.default, help, extra, False)


def _plain(kind: Any) -> Any:
    """Return a type without its annotations, and without None."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        some = [_plain(each) for each in get_args(kind) if each is not NoneType]
        return some[0] if len(some) == 1 else str
    return kind


def parameters(config: type[Config]) -> list[inspect.Parameter]:
    """Return the parameters of a Typer command, one for each setting."""
    return [_parameter(option) for option in options(config)]


def _parameter(option: Option) -> inspect.Parameter:
    import typer

    many = get_origin(option.kind) is dict or option.extra.get("repeated")
    simple = option.kind in (int, float, bool, str) or get_origin(option.kind) is Literal
    kind = list[str] if many else option.kind if simple else str
    known: dict[str, Any] = {"help": option.help, "metavar": option.extra.get("metavar")}
    if shown := option.extra.get("shown"):
        known["show_default"] = shown
    if option.extra["group"] is None:
        info = typer.Argument(**known)
    else:
        flag = f"{option.flag}/{option.negative}" if option.is_found else option.flag
        info = typer.Option(flag, rich_help_panel=option.extra["group"], **known)
    default = _typed(option.default)
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if option.required else default,
        annotation=Annotated[kind | None if default is None else kind, info],
    )


def _typed(default: Any) -> Any:
    """Return a default as it would be typed."""
    if default in ((), {}):
        return None
    return ",".join(map(str, default)) if isinstance(default, tuple) else default  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def configured(config: type[ConfigT], given: Mapping[str, Any], preset: str | None) -> ConfigT:
    """Return the settings that a command was given.

    Args:
        config: their class.
        given: the values of those of its parameters that were given, by name.
        preset: the name of one; options take precedence over it.

    Raises:
        ValueError: if one is wrong; its option is named.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in config.presets:
            raise ValueError(f"--preset must be one of {', '.join(config.presets)}, got {preset!r}")
        values |= config.presets[preset]
    known = {option.name: option for option in options(config)}
    for name, option in known.items():
        if name not in given:
            continue
        *outer, last = option.path
        inner = values.setdefault(outer[0], {}) if outer else values
        inner[last] = _read(option, given[name])
    try:
        return config(**values)
    except ValidationError as error:
        raise ValueError(_said(error, known)) from error


def arguments(config: Config) -> list[str]:
    """Return what gives these settings on the command line: those that are not the defaults.

    The inverse of `configured`.
    """
    first: list[str] = []
    others: list[str] = []
    for option in options(type(config)):
        value: Any = config
        for name in option.path:
            value = getattr(value, name)
        if value == option.default and not option.required:
            continue
        if option.extra["group"] is None:
            first += [str(value)]
        else:
            others += _written(option, value)
    return [*others, "--", *first] if any(map(_is_like_a_flag, first)) else [*first, *others]


def _written(option: Option, value: Any) -> list[str]:
    """Return a setting as the command line has it."""
    if isinstance(value, bool):
        return [option.flag if value else option.negative]
    if isinstance(value, dict):
        items = cast(dict[str, Any], value).items()
        texts = [f"{name}={_joined(each, ':')}" for name, each in items]
    elif option.extra.get("repeated"):
        texts = list(map(str, value))
    else:
        texts = [_joined(value, ",")]
    written: list[str] = []
    for text in texts:
        written += [f"{option.flag}={text}"] if _is_like_a_flag(text) else [option.flag, text]
    return written


def _joined(value: Any, between: str) -> str:
    if not isinstance(value, tuple):
        return str(value)
    parts = cast(tuple[Any, ...], value)
    return between.join("" if part is None else str(part) for part in parts)


def _is_like_a_flag(text: str) -> bool:
    return text.startswith("-")


def _read(option: Option, value: Any) -> Any:
    """Return the value of a setting from what was given on the command line."""
    texts: list[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    for text in texts:
        if isinstance(text, str) and text.encode("utf-8", "ignore").decode("utf-8") != text:
            raise ValueError(f"{text!a} is not valid text: rename it")
    if get_origin(option.kind) is dict:
        return _pairs(option, texts)
    if get_origin(option.kind) is tuple and not option.extra.get("repeated"):
        return [part.strip() for part in texts[0].split(",")] if texts[0] else []
    return value


def _pairs(option: Option, texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not (name and equals):
            raise ValueError(f"{option.flag} must be {option.extra['metavar']}, got {text!r}")
        if name in found:
            raise ValueError(f"{option.flag} names {name!r} twice")
        found[name] = value
    return found


def _said(error: ValidationError, known: Mapping[str, Option]) -> str:
    """Return the first thing that is wrong, in one line."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    message = message.partition(", unable to parse")[0].partition(" after validation")[0]
    names = [place for place in first["loc"] if place in known]
    if not names:  # of several settings
        return message
    option = known[str(names[-1])]
    what = option.extra["metavar"] if option.extra["group"] is None else option.flag
    theirs = re.match("(Input|Tuple) should ", message)
    said = f" must {message[theirs.end() :]}" if theirs else f": {message}"
    got = "" if ", got " in said else f", got {first['input']!r}"
    return f"{what}{said}{got}"
