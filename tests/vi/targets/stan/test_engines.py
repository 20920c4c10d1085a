"""Which engine compiles a program."""

from __future__ import annotations

import pytest

from invflow.vi.targets.stan import bridgestan, engines, httpstan


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
    monkeypatch.setattr(bridgestan, "installed", lambda: package)
    monkeypatch.setattr(httpstan, "installed", lambda: complete)
    assert engines.named("auto") is expected
    assert engines.named("httpstan") is httpstan.compiled


def test_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in (bridgestan, httpstan):
        monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'"invflow\[stan\]" or "invflow\[httpstan\]"'):
        engines.named("auto")
