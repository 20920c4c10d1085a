"""Every kind of page in a browser: small and large, light and dark, with scripts and without."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from invflow.density import experiment
from invflow.distillation import experiment as distillation
from invflow.distillation.config import Config
from invflow.report import density, posterior, student, vae
from invflow.report.vae import posteriors
from tests.density.runs import config, mixed, written
from tests.helpers import fast
from tests.report import runs
from tests.report.browser import Browser, axe, browser, program
from tests.report.posterior.test_write import fitted

LARGEST = 3_000_000
SCREENS = [(1400, False), (1400, True), (400, False), (400, True)]
#: Those on which axe-core looks for what some readers cannot use.
CHECKED = [(1400, True), (400, False)]
#: What is cut off at the edge of the page or of a figure, except what can be scrolled to.
CLIPPED = """
[...document.querySelectorAll("body *")].filter((each) => {
  const box = each.getBoundingClientRect();
  if (each.closest("dialog, script") || !box.width) return false;
  if (each.tagName === "text") {
    const whole = each.closest("svg").getBoundingClientRect();
    return box.left < whole.left - 2 || box.right > whole.right + 2 ||
      box.top < whole.top - 2 || box.bottom > whole.bottom + 2;
  }
  return !each.parentElement.closest(".scroll") && (box.left < 0 || box.right > innerWidth);
}).map((each) => each.outerHTML.slice(0, 200))
"""
SERIOUS = """
axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations
  .filter(({ impact }) => impact === "serious" || impact === "critical")
  .map(({ id, nodes }) => id + ": " + nodes[0].html.slice(0, 300) + nodes[0].failureSummary))
"""
#: The text of contours and lines must be of the page's colour.
TEXT_COLOURS = """
[...new Set([...document.querySelectorAll("svg text")].map((e) => getComputedStyle(e).fill))]
"""


def _vae(directory: Path) -> list[Path]:
    made = [
        runs.run(directory / "a"),
        runs.run(directory / "b", channels=3, network="resnet-vae", free_bits=0.1),
        runs.run(directory / "c", seed=1),
    ]
    for run in made:
        runs.write(run)
        vae.write(run)
    vae.compare([made[0], made[2]]).write(directory / "compare.html")
    return [directory / "a/report.html", directory / "b/report.html", directory / "compare.html"]


def _density(directory: Path) -> list[Path]:
    table = written(mixed(200), directory / f"{'long_name_' * 8}.csv")
    made = [
        experiment.train(
            config(table, steps=10, conditional_on=("colour",), seed=seed), directory / f"{seed}"
        )
        for seed in (0, 1)
    ]
    density.write(made[0])
    density.compare(made).write(directory / "compare.html")
    return [directory / "0/report.html", directory / "compare.html"]


def _student(directory: Path) -> list[Path]:
    table = written(mixed(200)[["size", "new"]], directory / "table.csv")
    experiment.train(config(table, steps=10), directory / "teacher")
    small = {"transforms": 1, "hidden_features": (8,), "steps": 5, "evaluation_draws": 200}
    asked = Config.model_validate({"teacher": str(directory / "teacher"), **small})
    made = distillation.train(asked, directory / "run")
    student.write(made)
    student.compare([made]).write(directory / "compare.html")
    return [directory / "run/report.html", directory / "compare.html"]


def _posterior(directory: Path) -> list[Path]:
    made = [fitted(directory / "a"), fitted(directory / "b", seed=1)]
    posterior.write(made[0])
    posterior.compare(made).write(directory / "compare.html")
    return [directory / "a/report.html", directory / "compare.html"]


@pytest.fixture
def opened(tmp_path: Path) -> Generator[Browser]:
    path = program()
    if path is None:
        pytest.skip("there is no Chromium")
    (tmp_path / "profile").mkdir()
    with browser(path, tmp_path / "profile") as started:
        yield started


@pytest.mark.parametrize(
    "pages", fast([_density, _posterior], [_vae, _density, _student, _posterior])
)
def test_pages(
    pages: Callable[[Path], list[Path]],
    opened: Browser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(posteriors, "DRAWS", {})
    monkeypatch.setattr(posteriors, "DRAWS_OF_SLOW_NETWORKS", 400)
    (tmp_path / "pages").mkdir()
    for page in pages(tmp_path / "pages"):
        assert page.stat().st_size < LARGEST
        for width, dark in SCREENS:
            opened.open(page, width, dark=dark)
            _is_whole(opened, width)
            closer = opened.run(
                "[...document.querySelectorAll('details')].map((e) => { e.open = true; }).length"
            )
            opened.run("new Promise((done) => setTimeout(done, 100))")
            if closer:
                assert opened.run("document.querySelectorAll('.chart *').length") > 0
            _is_whole(opened, width)
            assert opened.run(TEXT_COLOURS) == ["rgb(228, 232, 238)" if dark else "rgb(27, 31, 36)"]
            if (width, dark) in CHECKED and (script := axe()) is not None:
                opened.run(script)
                assert opened.run(SERIOUS) == []
            opened.run("document.querySelector('button.enlarge').click()")
            assert opened.run("document.querySelectorAll('dialog[open] svg').length") == 1
            assert opened.complaints() == []
            assert all(url.startswith(("file:", "data:")) for url in opened.requested())


def _is_whole(opened: Browser, width: int) -> None:
    assert opened.run("document.documentElement.scrollWidth") <= width
    assert opened.run(CLIPPED) == []


def test_without_scripts(opened: Browser, tmp_path: Path) -> None:
    opened("Emulation.setScriptExecutionDisabled", value=True)
    opened.open(_posterior(tmp_path)[0], 400, dark=False)
    shown = "[...document.querySelectorAll('{}')].filter((e) => e.offsetParent !== null).length"
    assert opened.run(shown.format("button.enlarge, details.explore")) == 0
    assert opened.run(shown.format(".panel")) == 4
    _is_whole(opened, 400)


def test_a_chart_zooms(opened: Browser, tmp_path: Path) -> None:
    """Dragging over a part of the steps leaves that part on the axis."""
    opened.open(_posterior(tmp_path)[0], 1400, dark=False)
    opened.run("const d = document.querySelector('#training ~ figure details'); d.open = true")
    opened.run("new Promise((done) => setTimeout(done, 100))")
    opened.run("d.scrollIntoView()")
    x, y, width = opened.run(
        "(() => { const b = d.querySelector('.u-over').getBoundingClientRect();"
        " return [b.x, b.y + b.height / 2, b.width]; })()"
    )

    def mouse(kind: str, share: float, **more: Any) -> None:
        opened("Input.dispatchMouseEvent", type=kind, x=x + share * width, y=y, **more)

    assert opened.run("d.querySelector('.u-value').textContent") == "--"
    mouse("mouseMoved", 0.98)
    assert opened.run("d.querySelector('.u-value').textContent") == "40"
    mouse("mouseMoved", 0.1)
    mouse("mousePressed", 0.1, button="left", clickCount=1)
    mouse("mouseMoved", 0.3, button="left", buttons=1)
    mouse("mouseReleased", 0.3, button="left", clickCount=1)
    # A third of the way is now far to the right.
    mouse("mouseMoved", 0.98)
    assert opened.run("d.querySelector('.u-value').textContent") != "40"


def test_a_latent_is_chosen(
    opened: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posteriors, "DRAWS", {"mlp": 400})
    run = runs.run(tmp_path / "run")
    runs.write(run)
    vae.write(run)
    opened.open(tmp_path / "run" / "report.html", 1400, dark=False)
    opened.run("const d = document.querySelector('#latent-traversals ~ figure details')")
    opened.run("d.open = true; new Promise((done) => setTimeout(done, 100))")
    said = "d.querySelector('.frame').getAttribute('aria-label')"
    assert opened.run(said).startswith("diagonal, z")
    assert opened.run(said).endswith(" at 0 standard deviations")
    change = (
        "((name, value, kind) => { const e = d.querySelector(name); e.value = value;"
        " e.dispatchEvent(new Event(kind)); })"
    )
    opened.run(f"{change}('input', 6, 'input')")
    assert opened.run(said).endswith(" at +3 standard deviations")
    opened.run(f"{change}('select', 1, 'change')")
    assert opened.run(said).startswith("iaf, z")
