"""Tables: reading, inspecting, and converting them to the numbers of a flow and back."""

from importlib import import_module

try:
    import_module("pandas")
    import_module("pyarrow")
except ImportError as error:
    raise ImportError('tables need pandas and pyarrow: pip install "invflow[density]"') from error

from invflow.density.table.bounds import bounded
from invflow.density.table.column import Column
from invflow.density.table.columns import Columns
from invflow.density.table.dialect import Dialect
from invflow.density.table.files.parquet import Parquet
from invflow.density.table.files.read import read
from invflow.density.table.files.write import write, write_blocks
from invflow.density.table.proposals import propose
from invflow.density.table.rows import Rows
from invflow.density.table.source import Frame, Source
from invflow.density.table.standard import standardise
from invflow.density.table.survey import survey

__all__ = [
    "Column",
    "Columns",
    "Dialect",
    "Frame",
    "Parquet",
    "Rows",
    "Source",
    "bounded",
    "propose",
    "read",
    "standardise",
    "survey",
    "write",
    "write_blocks",
]
