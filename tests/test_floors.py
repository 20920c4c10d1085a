"""The house: each floor imports only floors below it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "invflow"
#: The floor of each part. Files beside them, with underscores, are the cellar on which all stand.
FLOORS = {
    "univariate": 1,
    "conditioners": 1,
    "kernels": 2,
    "inverses": 3,
    "transforms": 4,
    "flows": 5,
    "training": 5,
    "runs": 6,
    "vi": 7,
    "vae": 7,
    "density": 7,
    "images": 7,
    "distillation": 8,
    "report": 9,
    "cli": 10,
}
#: The rooms of a package: each imports only those before it.
ROOMS = {
    "vi": ("targets", "trust", "fitting"),
    "vae": ("data", "networks", "resnet"),
    "density": ("table", "checks", "learning"),
}
#: What stands above all floors: it opens the house.
ROOF = {"__init__", "__main__"}


def _part(module: str, depth: int = 1) -> str | None:
    """Return the part of the library that a module is in; None for one of others, or the whole."""
    names = module.split(".")
    return names[depth] if names[0] == "invflow" and len(names) > depth else None


def _modules(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Give the modules that code imports, wherever it does so, for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _edges(source: Path, within: str = "") -> dict[tuple[str, str], list[str]]:
    """Return which parts of the library, or of one package, import which others, and where."""
    edges: dict[tuple[str, str], list[str]] = {}
    depth = 2 if within else 1
    for file in sorted((source / within).rglob("*.py")):
        place = file.relative_to(source)
        own = place.parts[depth - 1].removesuffix(".py")
        package = ["invflow", *place.parent.parts]
        for module in _modules(ast.parse(file.read_text()), package):
            if within and _part(module) != within:
                continue
            other = _part(module, depth)
            if other is not None and other != own:
                edges.setdefault((own, other), []).append(str(place))
    return edges


def _wrong(edges: dict[tuple[str, str], list[str]]) -> dict[tuple[str, str], list[str]]:
    """Return the edges that do not lead down."""
    return {
        (own, other): places
        for (own, other), places in edges.items()
        if own not in ROOF and FLOORS.get(other, 0) >= max(FLOORS.get(own, 0), 1)
    }


def test_each_floor_imports_only_floors_below() -> None:
    assert _wrong(_edges(SOURCE)) == {}


@pytest.mark.parametrize("package", ROOMS)
def test_each_room_imports_only_rooms_before_it(package: str) -> None:
    places = {room: place for place, room in enumerate(ROOMS[package])}
    folders = {each.parent.name for each in (SOURCE / package).glob("*/__init__.py")}
    assert folders == set(places)
    edges = [edge for edge in _edges(SOURCE, package) if set(edge) <= folders]
    assert [edge for edge in edges if places[edge[0]] < places[edge[1]]] == []


def test_the_drawing_shows_the_house_as_it_is() -> None:
    page = (SOURCE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"^src/invflow/\n((?:  .*\n)+)", page, re.MULTILINE)
    floors = re.findall(r"^  (\w+)/ +(\d+)  \S", drawing, re.MULTILINE)
    assert floors == [(folder, str(floor)) for folder, floor in FLOORS.items()]
    rooms = re.findall(r"^  (\w+)/|^    (\w+)/  ", drawing, re.MULTILINE)
    drawn: dict[str, list[str]] = {}
    package = ""
    for floor, room in rooms:
        package = floor or package
        if room:
            drawn.setdefault(package, []).append(room)
    assert drawn == {package: list(folders) for package, folders in ROOMS.items()}


def test_every_folder_has_a_floor() -> None:
    folders = {each.parent.name for each in SOURCE.glob("*/__init__.py")}
    assert folders == set(FLOORS)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("kernels/x.py", "from invflow.inverses import decode"),
        ("kernels/x.py", "from ..inverses.decode import Method"),
        ("univariate/x.py", "def f():\n    import invflow.conditioners.made"),
        ("_x.py", "from invflow import flows"),
        ("conditioners/x.py", "if TYPE_CHECKING:\n    from invflow.transforms import Compose"),
    ],
)
def test_the_test_sees_what_is_wrong(place: str, code: str, tmp_path: Path) -> None:
    for folder in FLOORS:
        (tmp_path / folder).mkdir()
    (tmp_path / place).write_text(code)
    assert len(_wrong(_edges(tmp_path))) == 1
