"""The site: its links, its reference and its table of contents, and what a browser makes of it."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import invflow
from tests.pages import DOCS, OUTSIDE, SITE, anchors, links, listed, prose, text
from tests.report.browser import Browser, axe, browser, program
from tests.report.test_browser import CHECKED, SCREENS, SERIOUS

ROOT = DOCS.parent
BUILT = ROOT / "build" / "site"
#: One page of each kind.
LOOKED_AT = (
    *("index", "which", "comparison", "gallery", "faq", "glossary", "changes", "search"),
    *(
        "tutorials/index",
        "tutorials/posterior",
        "how-to/posteriors",
        "explanation/inverse",
        "reference/flows",
        "reference/command-line",
    ),
)


@pytest.mark.parametrize(
    "page", [*SITE, *OUTSIDE], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        if re.match(r"https?:", link):
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link


def test_the_test_finds_a_wrong_anchor() -> None:
    assert "what-it-reaches" in anchors(DOCS / "how-to" / "posteriors.md")
    assert "the-house" in anchors(DOCS / "contributing.md")
    assert "what-it-reached" not in anchors(DOCS / "how-to" / "posteriors.md")


@pytest.mark.parametrize("page", SITE, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_pictures_are_files_with_a_description(page: Path) -> None:
    for description, target in re.findall(r"!\[(.*?)\]\((\S+)\)", prose(page)):
        assert description
        assert not target.startswith("http")


def test_every_page_is_in_the_table_of_contents() -> None:
    assert set(SITE) - listed() == set()


def described() -> list[str]:
    """Return the packages that the pages of the reference describe."""
    pages = (DOCS / "reference").glob("*.md")
    return [name for page in pages for name in re.findall(r"```\{package\} (\S+)", text(page))]


def packages() -> dict[str, ModuleType]:
    """Return the packages that say what is public, by name."""
    found = {"invflow": invflow}
    for each in pkgutil.walk_packages(invflow.__path__, "invflow."):
        if each.ispkg and not each.name.startswith("invflow.kernels."):
            package = importlib.import_module(each.name)
            if hasattr(package, "__all__"):
                found[each.name] = package
    return found


def test_every_public_name_is_in_the_reference() -> None:
    found, shown = packages(), described()
    assert len(shown) == len(set(shown))
    there = {id(getattr(found[name], each)) for name in shown for each in found[name].__all__}
    missing = {
        f"{name}.{each}"
        for name, package in found.items()
        for each in package.__all__
        if not each.startswith("__")
        if name not in shown and id(getattr(package, each)) not in there
    }
    assert missing == set()


def test_every_public_name_has_a_docstring() -> None:
    assert [
        f"{name}.{each}"
        for name in described()
        for each in packages()[name].__all__
        if callable(value := getattr(packages()[name], each)) and not inspect.getdoc(value)
    ] == []


@pytest.fixture(scope="module")
def built() -> Path:
    """The site, made again where its pages have changed."""
    if find_spec("sphinx") is None:
        pytest.skip("needs Sphinx: make docs")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(DOCS), str(BUILT)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == 0, done.stderr
    return BUILT


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Generator[Browser]:
    path = program()
    if path is None:
        pytest.skip("needs Chromium")
    with browser(path, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.slow
def test_nothing_comes_from_another_host(built: Path) -> None:
    pages = list(built.rglob("*.html"))
    assert len(pages) > 30
    loaded = r'<(?:script|img|iframe|source)[^>]* src="(.*?)"|<link[^>]* href="(.*?)"'
    for page in pages:
        for found in re.findall(loaded, page.read_text(encoding="utf-8")):
            assert not re.match("(https?:)?//", "".join(found)), (page, found)
    for sheet in built.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_page_in_a_browser(built: Path, opened: Browser, name: str) -> None:
    for width, dark in SCREENS:
        opened.open(built / f"{name}.html", width, dark=dark)
        assert opened.complaints() == []
        assert all(url.startswith(("file:", "data:")) for url in opened.requested())
        assert opened.run("document.documentElement.scrollWidth") <= width
        if (width, dark) in CHECKED and (script := axe()) is not None:
            opened.run(script)
            assert opened.run(SERIOUS) == [], (width, dark)


@pytest.mark.slow
def test_the_search_finds_a_page(built: Path, opened: Browser) -> None:
    opened.open(built / "search.html", 1400, dark=False)
    opened.run('Search.performSearch("sticking the landing")')
    found = """new Promise((answer) => {
      const links = document.querySelector("#search-results").getElementsByTagName("a");
      const look = () => Search.status.innerText.startsWith("Search finished")
        ? answer([...links].map((each) => each.href)) : setTimeout(look, 50);
      look();
    })"""
    assert any("explanation/path-gradients" in link for link in opened.run(found))
