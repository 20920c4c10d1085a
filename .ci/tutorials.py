"""Run the tutorials from top to bottom, each in an empty folder, and keep what they print and draw.

    python .ci/tutorials.py [NAME ...]

Each notebook in `docs/tutorials/` is written whole when all of its cells have run. Needs the extra
`docs`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def run(path: Path) -> None:
    """Run a notebook, and write it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if cell.cell_type == "code":
            cell.outputs = _kept(cell.outputs)
    nbformat.validate(notebook)
    whole = path.with_suffix(".tmp")
    whole.write_text(nbformat.writes(notebook, indent=1, ensure_ascii=False) + "\n")
    whole.replace(path)


def _kept(outputs: list[Any]) -> list[Any]:
    """Return outputs without bars of progress, and text that follows text in one piece."""
    kept: list[Any] = []
    for output in outputs:
        if WIDGET in output.get("data", {}):
            continue
        if "metadata" in output:
            output.metadata = {}
        last = kept[-1] if kept else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            kept.append(output)
    return kept


def main(names: list[str]) -> None:
    """Run the tutorials with these names, or all."""
    os.environ["TQDM_DISABLE"] = "1"
    for name in names or sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        print(name, flush=True)
        run(FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    main(sys.argv[1:])
