"""What is said of a release in several places is the same everywhere."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from invflow import __version__
from tests.documented import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
OLDEST = re.fullmatch(r">=3\.(\d+)", PROJECT["requires-python"])


def _targets() -> set[str]:
    rules = re.findall(r"^([a-z -]+):(?! export)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(" ".join(rules).split())


def _called(workflow: str) -> set[str]:
    """Return the targets of make that a workflow calls."""
    lines = re.findall(r"run: make (.*)", workflow)
    for name, values in re.findall(r"^ +(\w+): \[(.*)\]$", workflow, re.MULTILINE):
        each = values.replace(",", " ")
        lines = [line.replace(f"${{{{ matrix.{name} }}}}", each) for line in lines]
    return {word for line in lines for word in line.split() if "=" not in word}


def test_versions_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    (cited,) = re.findall(r"^version: (.*)$", citation, re.MULTILINE)
    (released,) = re.findall(r'^date-released: "(.*)"$', citation, re.MULTILINE)
    changes = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    newest = next(each for each in changes if each != "Unreleased")
    assert cited == __version__
    assert newest == f"{__version__} ({released})"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_only_targets_that_exist(path: Any) -> None:
    called = _called(path.read_text())
    assert called
    assert called <= _targets()


def test_the_targets_of_a_workflow() -> None:
    text = "        what: [a, b-c]\n      - run: make ${{ matrix.what }} d PYTHON=python\n"
    assert _called(text) == {"a", "b-c", "d"}
    assert {"test", "tests", "newest", "dist"} <= _targets()
    assert "clone" not in _targets()


def test_no_workflow_does_what_nobody_can_run_elsewhere() -> None:
    """Apart from targets of make, there is one line, which needs the tag."""
    lines = [line for path in WORKFLOWS for line in re.findall(r"run: (.*)", path.read_text())]
    others = [line for line in lines if not line.startswith("make ")]
    assert others == ['test -f "dist/invflow-${GITHUB_REF_NAME#v}.tar.gz"']


def test_every_python_that_is_supported_is_named_and_tested() -> None:
    assert OLDEST is not None
    start = "Programming Language :: Python :: 3."
    named = [each.removeprefix(start) for each in PROJECT["classifiers"] if each.startswith(start)]
    supported = [str(int(OLDEST[1]) + i) for i in range(len(named))]
    assert named == supported
    tests = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    (matrix,) = re.findall(r"python: \[(.*)\]", tests)
    assert matrix == ", ".join(f'"3.{minor}"' for minor in supported)
    assert f'python-version: "3.{supported[0]}"\n      - run: make oldest' in tests
    assert f'python-version: "3.{supported[-1]}"\n      - run: make newest' in tests


def test_addresses_are_those_of_the_project() -> None:
    addresses = PROJECT["urls"].values()
    citation = (ROOT / "CITATION.cff").read_text()
    assert PROJECT["urls"]["Homepage"] in citation
    assert PROJECT["urls"]["Documentation"] in citation
    owner = re.compile(r"^https://(invflow\.github\.io|github\.com/invflow)/invflow\b")
    assert [each for each in addresses if not owner.match(each)] == []
