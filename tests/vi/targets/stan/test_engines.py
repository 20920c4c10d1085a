"""Which engine compiles a program."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from invflow.vi.targets.stan import bridgestan, engines, httpstan
from invflow.vi.targets.stan.program import Program


@pytest.mark.parametrize(
    ("sources", "complete", "package", "expected"),
    [
        (True, True, True, bridgestan.compiled),
        (True, False, True, bridgestan.compiled),
        (False, True, True, httpstan.compiled),
        (False, True, False, httpstan.compiled),
        (False, False, True, bridgestan.compiled),  # which may fetch its sources
    ],
)
def test_the_engine_that_is_ready(
    sources: bool, complete: bool, package: bool, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridgestan, "ready", lambda: sources)
    there = {"bridgestan": package, "httpstan": complete}
    monkeypatch.setattr(engines, "installed", there.__getitem__)
    assert engines.named("auto") is expected
    assert engines.named("httpstan") is httpstan.compiled


@pytest.mark.parametrize("module", [bridgestan, httpstan])
def test_what_is_not_installed(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module.__name__.rpartition(".")[2], None)
    with pytest.raises(ImportError, match=rf'pip install "invflow\[{module.EXTRA}\]"'):
        module.compiled(Program("model.stan", "model {}"), "{}")


def test_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bridgestan", "httpstan"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'"invflow\[stan\]", or .* "invflow\[httpstan\]"'):
        engines.named("auto")
