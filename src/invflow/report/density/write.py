"""The page of a density run."""

from __future__ import annotations

from invflow.density.data import Data
from invflow.density.run import Run
from invflow.report import page
from invflow.report.density import tables
from invflow.report.density.curve import curve
from invflow.report.density.pairs import Points, pairs, points
from invflow.report.density.ranks import BAND, SHOWN, ranks


def write(run: Run, data: Data) -> None:
    """Write `report.html` into the directory of a run.

    Args:
        run: a finished run.
        data: its rows.

    Raises:
        ImportError: matplotlib or Jinja is not installed.
    """
    page.require()
    found = run.results.assessment
    shown = points(run, data)
    histograms = ranks(found.calibration, found.histograms, found.worst_columns)
    sections = [
        page.Section("Results", table=tables.brief(run), text=_results(run)),
        page.Section(
            "Data against draws", picture=page.encoded(pairs(shown)), text=_pairs(run, shown)
        ),
        page.Section("Ranks", picture=page.encoded(histograms), text=_ranks(run)),
        page.Section(
            "Calibration",
            table=tables.coverage(found.calibration),
            text=_calibration(run),
        ),
        page.Section("Two-sample tests", text=_two_sample(run)),
        page.Section("Columns that fit worst", table=tables.worst_columns(run), text=_COLUMNS),
        page.Section("Rows that fit worst", table=tables.worst_rows(run), text=_rows(run)),
        page.Section("Training", picture=page.encoded(curve(run)), text=_training(run)),
        page.Section("Columns", table=tables.columns(run)),
        page.Section("Settings", code=run.config.model_dump_json(indent=2)),
    ]
    columns = run.density.columns_
    lead = f"{run.config.flow}, {len(columns.features)} columns"
    if columns.context:
        lead += f" given {', '.join(str(column.name) for column in columns.context)}"
    lead += f"; {columns.rows} rows, {found.rows} of them for the test; seed {run.config.seed}"
    title = f"invflow: density of {run.config.data}"
    page.write(run.directory / "report.html", title, lead, sections)


def _results(run: Run) -> str:
    found = run.results.assessment
    text = (
        f"The log density is the mean over {found.rows} rows that the density has not learned "
        "from, in nats per row, ± its standard error over rows. It is of the columns in their own "
        "units, so that it can only be compared between densities of the same columns: a gain of 1 "
        "makes the rows e = 2.72 times as likely, each."
    )
    if run.density.columns_.has_integers:
        text += (
            " Of whole numbers it is of their probability, an integral taken as a mean over points "
            "between them; the error is small where the density is even there."
        )
    if run.density.columns_.context:
        text += " It is a density given the other columns, not one of them."
    if run.density.columns_.missing:
        text += " Of rows with missing values it is the density of what is there."
    if found.outside:
        text += (
            f" {found.outside} test row(s) have values beyond a column's bounds, where the density "
            "is zero."
        )
    return text


def _pairs(run: Run, shown: Points) -> str:
    source = "rows of the test" if shown.held_out else "rows of the table, learned ones too"
    given = " Each draw has the context of a row." if run.density.columns_.context else ""
    return (
        f"{len(shown.rows)} {source} (blue, below the diagonal), and as many draws (orange, above "
        f"it), of {len(shown.names)} columns, those whose ranks fit worst. A picture below the "
        "diagonal should look like its mirror image above it. Both histograms are on the diagonal. "
        f"What is in view is what the rows span; {shown.out_of_view} draws are out of it.{given}"
    )


def _ranks(run: Run) -> str:
    found = run.results.assessment
    return (
        f"Where the values of {found.compared} test rows rank among draws, from 0, below all, to "
        f"1. If the density is right all bars are near 1; each is in the grey band with "
        f"probability {BAND:.0%}. A U is a density too narrow, a hill one too wide, a slope one "
        f"too high or too low. The columns that fit worst come first, {SHOWN} at most."
    )


def _calibration(run: Run) -> str:
    verdict = str(run.results.assessment.calibration).splitlines()[0]
    return (
        f"{_sentence(verdict)} The table says which share of test values lies inside "
        "of the density's central intervals, ± what chance allows a right density. Whole rows, "
        "where they stand in it, are judged by the length of their noise: near the middle, or far "
        "out."
    )


def _two_sample(run: Run) -> str:
    found = run.results.assessment
    energy = (
        "The energy test takes two complete rows or more."
        if found.energy is None
        else _sentence(str(found.energy))
    )
    classifier = (
        " There are too few complete rows to train a classifier."
        if found.classifier is None
        else " " + _sentence(str(found.classifier))
    )
    text = (
        f"{energy}{classifier} Both ask whether test rows can be told from draws, dependence "
        "between columns included; a difference found is sure at the level 1%, none found says "
        "little where there are few rows."
    )
    if found.complete < found.compared:
        text += f" {found.compared - found.complete} rows with missing values were left out."
    if run.density.columns_.context:
        text += (
            " Draws given the contexts of one half of the rows are compared with the other half."
        )
    return text


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


_COLUMNS = (
    "By the p-value of their ranks, corrected for all columns; the calibration error is the mean "
    "distance of the ranks' distribution from an even one, beside that of chance. The classifier's "
    "use is by how much its AUC falls without the column."
)


def _rows(run: Run) -> str:
    count = len(run.density.reference_)
    return (
        "Test rows of the lowest log density; rows are counted from 0. The p-value is the share of "
        f"{count} other rows set aside that are no likelier: of usual rows one in a hundred is "
        f"below 0.01, and the smallest possible is {1 / (count + 1):.2g}. Where no value is "
        "unusual alone, it is how values go together."
    )


def _training(run: Run) -> str:
    step, best = max(run.density.curve_, key=lambda each: each[1])
    text = (
        "The mean log density, in nats per row. What is kept is what was best on the rows set "
        f"aside, after {step} steps of {run.config.steps} at most, with {best:.4g} nats."
    )
    if run.density.columns_.has_integers or run.density.columns_.missing:
        text += " In training it is a bound, with one draw of noise, below that of the results."
    return text
