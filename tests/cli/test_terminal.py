"""Tables in the terminal: nothing is cut off."""

from __future__ import annotations

import pytest
from rich.console import Console

from invflow.cli import terminal


@pytest.mark.parametrize("width", [30, 48, 60, 80])
def test_wide_tables_continue_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setattr(terminal, "_console", Console(width=width, highlight=False))
    head = ("run, posterior", "bound, gain", "log-likelihood", "bits/dim", "time")
    rows = [("first, iaf", "-1998.91 ± 1.01", "-1936.79 ± 15.95", "6.468 ± 0.053", "1 s")]
    rows.append(("second, iaf", "+1 ± 2", "+3 ± 4", "5 ± 6", "7 s"))
    terminal.table("Nats per image", head, rows)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert all(len(line) <= max(width, 36) for line in shown.splitlines())
    if width == 30:  # not even two columns fit: cells take several lines
        return
    for text in (*head, *rows[0], *rows[1]):
        assert text in shown
    blocks = {48: 3, 60: 2, 80: 1}[width]
    assert shown.count("first, iaf") == shown.count(head[0]) == blocks
    assert shown.count("Nats per image") == 1
