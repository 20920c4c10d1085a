"""Print the oldest versions that pyproject.toml allows, one requirement a line, for pip's `-c`."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

EXTRAS_OF_DEVELOPERS = {"bench", "dev"}

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
requirements = list(project["dependencies"])
for extra, more in project["optional-dependencies"].items():
    if extra not in EXTRAS_OF_DEVELOPERS:
        requirements += more

oldest: dict[str, Version] = {}
for requirement in map(Requirement, requirements):
    if requirement.name == "invflow":  # its extras, which are here themselves
        continue
    bounds = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
    if not bounds:
        raise SystemExit(f"pyproject.toml must say the oldest {requirement.name} that works")
    oldest[requirement.name] = max(*bounds, oldest.get(requirement.name, Version("0")))
for name, version in sorted(oldest.items()):
    print(f"{name}=={version}")
