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
    "testing": 5,
    "training": 5,
    "runs": 6,
    "vi": 7,
    "density": 7,
    "images": 7,
    "vae": 8,
    "distillation": 8,
    "simulation": 8,
    "adapters": 9,
    "report": 9,
    "cli": 10,
}
#: The rooms of a part, each importing only rooms before it, also by way of the files beside them.
ROOMS = {
    "vi": ["targets", "trust", "fitting"],
    "density": ["table", "checks", "learning"],
    "images": ["data"],
    "vae": ["likelihoods", "networks", "models", "resnet"],
}
#: What stands above all floors: it opens the house.
ROOF = {"__init__", "__main__"}


def _part(module: str) -> str | None:
    """Return the part of the library that a module is in; None for one of others, or the whole."""
    names = module.split(".")
    return names[1] if names[0] == "invflow" and len(names) > 1 else None


def _modules(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Give the modules that code imports, wherever it does so, for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _imports(folder: Path, package: list[str]) -> Iterator[tuple[str, str]]:
    """Give each file of a package's folder, or the room in it, with each module it imports."""
    for file in sorted(folder.rglob("*.py")):
        place = file.relative_to(folder)
        for module in _modules(ast.parse(file.read_text()), [*package, *place.parent.parts]):
            yield place.parts[0], module


def _edges(source: Path) -> dict[tuple[str, str], list[str]]:
    """Return which parts import which others, and which modules."""
    edges: dict[tuple[str, str], list[str]] = {}
    for place, module in _imports(source, ["invflow"]):
        own, other = place.removesuffix(".py"), _part(module)
        if other is not None and other != own:
            edges.setdefault((own, other), []).append(module)
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


def test_every_folder_has_a_floor() -> None:
    folders = {each.parent.name for each in SOURCE.glob("*/__init__.py")}
    assert folders == set(FLOORS)


def _reached(source: Path, part: str) -> dict[str, set[str]]:
    """Return which rooms and files of a part each of them imports, directly or by way of others."""
    inside = [
        (own.removesuffix(".py"), module.split("."))
        for own, module in _imports(source / part, ["invflow", part])
        if own.removesuffix(".py") not in ROOF
    ]
    direct: dict[str, set[str]] = {}
    for own, names in inside:
        if names[:2] == ["invflow", part] and len(names) > 2 and names[2] != own:
            direct.setdefault(own, set()).add(names[2])
    reached = {own: set(others) for own, others in direct.items()}
    for _ in reached:
        for others in reached.values():
            others |= {far for each in others for far in direct.get(each, ())}
    return reached


def _astray(source: Path, part: str) -> dict[str, set[str]]:
    """Return what rooms and files of a part import and must not: later rooms, or themselves."""
    rooms = ROOMS[part]
    wrong = {
        own: {own, *(rooms[rooms.index(own) :] if own in rooms else ())} & others
        for own, others in _reached(source, part).items()
    }
    return {own: others for own, others in wrong.items() if others}


@pytest.mark.parametrize("part", ROOMS)
def test_each_room_imports_only_rooms_before_it(part: str) -> None:
    assert {each.parent.name for each in (SOURCE / part).glob("*/__init__.py")} == {*ROOMS[part]}
    assert _astray(SOURCE, part) == {}


@pytest.mark.parametrize(
    "code",
    [
        {"targets/x.py": "from invflow.vi.trust import probe"},
        {"trust/x.py": "from invflow.vi import beside", "beside.py": "import invflow.vi.fitting.y"},
        {"one.py": "from invflow.vi.two import f", "two.py": "from invflow.vi import one"},
    ],
)
def test_the_test_sees_a_room_that_is_wrong(code: dict[str, str], tmp_path: Path) -> None:
    for room in ROOMS["vi"]:
        (tmp_path / "vi" / room).mkdir(parents=True)
    for place, text in code.items():
        (tmp_path / "vi" / place).write_text(text)
    assert _astray(tmp_path, "vi")


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
