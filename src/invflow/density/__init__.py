"""Densities of tables and images, and fast samplers by distillation."""

from typing import TYPE_CHECKING, Any

from invflow import _lazy

if TYPE_CHECKING:
    from invflow.density import calibration as calibration
    from invflow.density import classifier_test as classifier_test
    from invflow.density import distillation as distillation
    from invflow.density import images as images
    from invflow.density import table as table
    from invflow.density import two_sample as two_sample
    from invflow.density.estimator import FlowDensity

__all__ = ["FlowDensity"]

_PARTS = ("calibration", "classifier_test", "distillation", "images", "table", "two_sample")
_ask, _listed = _lazy.attached(__name__, dict.fromkeys(_PARTS, "density"))


def __getattr__(name: str) -> Any:
    # Not at once, as images and distillation do without scikit-learn and pandas.
    if name == "FlowDensity":
        from invflow.density.estimator import FlowDensity

        return FlowDensity
    return _ask(name)


def __dir__() -> list[str]:
    return sorted({*_listed(), *__all__})
