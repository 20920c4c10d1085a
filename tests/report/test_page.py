"""The page itself."""

from __future__ import annotations

from pathlib import Path

from invflow.report import page


def test_page_escapes_what_it_shows(tmp_path: Path) -> None:
    table = [("<i>", "b"), ("<u>", "c")]
    sections = [page.Section("<b>", table=table, text="1 < 2", code="<s>")]
    page.write(tmp_path / "a.html", "<script>", "a & b", sections)
    text = (tmp_path / "a.html").read_text()
    assert "&lt;script&gt;" in text
    assert "a &amp; b" in text
    assert not any(tag in text for tag in ("<b>", "<i>", "<u>", "<s>", "1 < 2"))
