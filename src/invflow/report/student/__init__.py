"""The report of a student: the page, and the table that a terminal shows."""

from invflow.report.student.write import brief, write

__all__ = ["brief", "write"]
