"""Compiles the C library into wheels, and in place for editable installs."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNELS = Path(__file__).parent / "src" / "invflow" / "kernels"


def _load(path: Path) -> ModuleType:
    """Return a module without the package that it belongs to, and what that imports."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Library(BuildHookInterface):
    """Builds the library; without a C compiler the package is built without it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build = _load(KERNELS / "build.py")
        if not build.supported():
            return
        try:
            if version == "editable":
                build.current(build.SOURCES, build.LIBRARY)
            else:
                self._add(build, build_data)
        except (build.BuildError, OSError) as error:
            self.app.display_warning(f"invflow runs without compiled kernels: {error}")

    def _add(self, build: ModuleType, build_data: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        library = Path(self._folder.name, build.LIBRARY.name)
        build.build(build.SOURCES, library)
        for file in (library, build.stamp(library)):
            build_data["force_include"][str(file)] = f"invflow/kernels/{file.name}"
        build_data["pure_python"] = False
        build_data["tag"] = build.wheel_tag(library)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()
