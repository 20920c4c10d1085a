"""Densities of tables."""

from typing import TYPE_CHECKING, Any

from invflow import _lazy

if TYPE_CHECKING:
    from invflow.density import checks as checks
    from invflow.density import table as table
    from invflow.density.estimator import FlowDensity

__all__ = ["FlowDensity"]

_ask, _listed = _lazy.attached(__name__, dict.fromkeys(("checks", "table"), "density"))


def __getattr__(name: str) -> Any:
    # On demand: the settings of a run are read without scikit-learn and pandas.
    if name == "FlowDensity":
        from invflow.density.estimator import FlowDensity

        return FlowDensity
    return _ask(name)


def __dir__() -> list[str]:
    return sorted({*_listed(), *__all__})
