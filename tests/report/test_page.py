"""The page itself."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path

from invflow.report import figures, page
from invflow.report.figures import Curve
from invflow.report.page import Section, Verdict

#: uPlot 1.6.32, as its package on npm contains it.
VENDORED = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


def _text(path: Path, *sections: Section, verdict: Verdict | None = None) -> str:
    page.write(path / "a.html", "title", "lead", sections, verdict)
    return (path / "a.html").read_text()


def _curves() -> Section:
    lines = {"</script>": Curve([1, 2], (), [0.0, 1.0])}
    panels = figures.curves(lines, "nats")
    return Section("Curves", panels=panels, explore=figures.chart(lines, "nats"), text="Caption.")


def test_page_escapes_what_it_shows(tmp_path: Path) -> None:
    table = [("<i>", "b"), ("<u>", "c")]
    sections = [Section("<b>", table=table, text="1 < 2", code="<s>")]
    page.write(tmp_path / "a.html", "<script>", "a & b", sections, Verdict("good", "<em>", ["<q>"]))
    text = (tmp_path / "a.html").read_text()
    assert "&lt;script&gt;" in text
    assert "a &amp; b" in text
    tags = ("<b>", "<i>", "<u>", "<s>", "1 < 2", "<em>", "<q>")
    assert not any(tag in text for tag in tags)


def test_labels_do_not_end_the_script(tmp_path: Path) -> None:
    text = _text(tmp_path, _curves())
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', text)
    assert "\\u003c/script\\u003e" in data
    assert 'aria-label="Curves of nats against step: &lt;/script&gt;."' in text


def test_the_verdict_comes_first(tmp_path: Path) -> None:
    text = _text(tmp_path, Section("A"), verdict=Verdict("bad", "No.", ["Because."]))
    order = [text.index(part) for part in ("<h1>", "verdict bad", "No.", "Because.", "<nav", "A<")]
    assert order == sorted(order)
    assert "verdict bad" not in _text(tmp_path, Section("A"))


def test_what_stays_on_one_line(tmp_path: Path) -> None:
    advice = "Take <a> larger --weight-decay, or --steps 9."
    text = _text(tmp_path, Section("A"), verdict=Verdict("bad", "By 1.00 ± 0.20.", [advice]))
    expected = "Take &lt;a&gt; larger <code>--weight-decay</code>, or <code>--steps</code> 9."
    assert f"<li>{expected}</li>" in text
    assert "By 1.00&nbsp;±&nbsp;0.20.</h2>" in text


def test_contents_lead_to_the_sections(tmp_path: Path) -> None:
    text = _text(tmp_path, Section("Rows and draws"), Section("Latent (z)"))
    for id in re.findall(r'<a href="#([^"]+)">', text):
        assert f'<h2 id="{id}">' in text
    assert text.count('<a href="#') == 2


def test_cells_are_aligned_by_what_they_hold(tmp_path: Path) -> None:
    table = [("name", "value", "word"), ("a b", "-1.00 ± 0.20", "nan, but"), ("c", "nan", "two")]
    text = _text(tmp_path, Section("T", table=table))
    assert '<th scope="col" class="text">word</th>' in text
    assert '<th scope="col">value</th>' in text
    assert '<td class="number">-1.00 ± 0.20</td>' in text
    assert "<td>nan</td>" in text
    assert '<th scope="row">a b</th>' in text


def test_figures_have_text_for_those_who_do_not_see_them(tmp_path: Path) -> None:
    text = _text(tmp_path, _curves())
    assert '<svg role="img" aria-label="Curves of nats' in text
    assert '<figcaption class="caption">Caption.</figcaption>' in text


def test_the_library_is_there_where_it_is_needed(tmp_path: Path) -> None:
    assert "leeoniya/uPlot" in _text(tmp_path, _curves())
    assert "leeoniya/uPlot" not in _text(tmp_path, Section("A"))


def test_the_library_is_as_it_was_published() -> None:
    look = files("invflow.report") / "look"
    for name, digest in VENDORED.items():
        assert hashlib.sha256((look / name).read_bytes()).hexdigest() == digest, name
    assert "MIT License" in (look / "uPlot.LICENSE").read_text()
