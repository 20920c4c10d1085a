"""The page of a density run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from invflow.density.run import Run, name
from invflow.report import figures, page
from invflow.report.density import tables
from invflow.report.density.bars import VALUES, bars
from invflow.report.density.curve import HEIGHT, lines, view
from invflow.report.density.points import Points, points
from invflow.report.density.ranks import BAND, COLUMNS, ranks
from invflow.report.density.verdict import verdict
from invflow.report.settings import count, settings


def write(run: Run) -> None:
    """Write `report.html` into the directory of a finished run.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
    """
    page.require()
    found = run.results.assessment
    shown = points(run)
    brief, bounds = tables.brief(run), lines(run)
    sections = [
        page.Section("Results", table=[brief.head, *brief.rows], text=_results(run)),
        *_rows_and_draws(run, shown),
        page.Section(
            "Ranks",
            panels=ranks(found.calibration, found.histograms, found.worst_columns),
            text=_ranks(run),
        ),
        page.Section(
            "Calibration", table=tables.coverage(found.calibration), text=_calibration(run)
        ),
        page.Section("Two-sample tests", text=_two_sample(run)),
        page.Section("Columns that fit worst", table=tables.worst_columns(run), text=_COLUMNS),
        page.Section("Rows that fit worst", table=tables.worst_rows(run), text=_rows(run)),
        page.Section(
            "Training",
            panels=figures.curves(bounds, HEIGHT, view(bounds)),
            explore=figures.chart(bounds, HEIGHT),
            text=_training(run),
        ),
        page.Section("Columns", table=tables.columns(run), text=_settled(run)),
        settings(run.directory, run.config, "density", name(run.config), _facts(run)),
    ]
    columns = run.density.columns_
    lead = f"{run.config.flow}, {len(columns.features)} columns"
    if columns.context:
        lead += f" given {', '.join(map(str, columns.given))}"
    lead += f"; {columns.rows} rows, {found.rows} of them test rows; seed {run.config.seed}"
    title = f"invflow: density of {Path(run.config.data).name}"
    page.write(run.directory / "report.html", title, lead, sections, verdict(found))


def _rows_and_draws(run: Run, shown: Points) -> Iterator[page.Section]:
    """Give a section for numbers and one for categories, if there are any."""
    if shown.names:
        yield page.Section(
            "Rows and draws",
            panels=[figures.pairs(shown.names, shown.rows, shown.draws, ("rows", "draws"))],
            explore=figures.closer(shown.names, {"rows": shown.rows, "draws": shown.draws}),
            text=_pairs(run, shown),
        )
    if shown.levels:
        yield page.Section("Categories", panels=bars(shown.levels), text=_levels(shown))


def _facts(run: Run) -> dict[str, str]:
    """Return the sizes of the data and of the density."""
    columns = run.density.columns_
    given = f", given {count(len(columns.given), 'column')}" if columns.context else ""
    tested = count(run.results.assessment.rows, "test row")
    return {
        "table": f"{count(columns.rows, 'row')}, of which {tested}",
        "columns": f"{len(columns.features):,}{given}",
        "parameters": f"{sum(each.numel() for each in run.density.model_.parameters()):,}",
    }


def _results(run: Run) -> str:
    found, columns = run.results.assessment, run.density.columns_
    text = (
        f"The log density is the mean over {found.rows} test rows, which were not used in "
        "training, in nats per row, ± standard error over rows. It is the density of the columns "
        "in their own units, so compare it only between densities of the same columns. A "
        "difference of 1 nat means that rows are e = 2.72 times as likely."
    )
    if columns.has_categories:
        text += " Categories are part of it with their log probability."
    if columns.has_grids:
        text += (
            " For columns that move in steps, integers and dates among them, it is the log "
            "probability, estimated as an average over points between two numbers; the error is "
            "small where the density is smooth there."
        )
    if found.log_cell:
        text += (
            f" The log volume of a cell is {found.log_cell:.4g}; the log density minus this is the "
            "mean density in a cell, comparable with densities that know no steps."
        )
    if columns.context:
        text += " It is conditional on the context columns."
    if columns.missing:
        text += " For rows with missing values it is the density of the observed values."
    if found.outside:
        text += (
            f" {found.outside} test row(s) have values outside a column's bounds, where the "
            "density is zero."
        )
    return text


def _pairs(run: Run, shown: Points) -> str:
    source = "test rows" if shown.held_out else "rows of the table, training rows included"
    given = " Each draw has the context of a row." if run.density.columns_.context else ""
    return (
        f"{len(shown.rows)} {source} (blue, below the diagonal) and the same number of draws "
        f"(orange, above it), for the {len(shown.names)} columns whose ranks fit worst. Each "
        "panel below the diagonal should look like the mirror image of the one above it. The "
        "diagonal shows both histograms. The axes cover the range of the rows "
        f"(draws outside: {shown.out_of_view}).{given}"
    )


def _levels(shown: Points) -> str:
    source = "test rows" if shown.held_out else "rows of the table"
    return (
        f"The fraction of {source} (blue) and of draws (orange) with each value; of columns with "
        f"many values the {VALUES} most common ones. The columns that fit worst come first."
    )


def _ranks(run: Run) -> str:
    found = run.results.assessment
    return (
        f"The ranks of {found.compared} test rows among draws, scaled from 0 (below all draws) to "
        f"1. If the density is right, all bars are close to 1, and each is in the grey band with "
        f"probability {BAND:.0%}. A U shape means that the density is too narrow, a hump that it "
        "is too wide, a slope that it is too high or too low. The columns that fit worst come "
        f"first (at most {COLUMNS})."
    )


def _calibration(run: Run) -> str:
    verdict = str(run.results.assessment.calibration).splitlines()[0]
    several = run.density.settings_.ensemble > 1
    return (
        f"{_sentence(verdict)} The table gives the percentage of test values inside the density's "
        "central intervals, ± the standard error expected by chance. The entry for whole rows, "
        "where present, ranks the length of a row's noise vector: near the centre or far out."
        + (" An ensemble has no noise, so that whole rows are not tested." if several else "")
    )


def _two_sample(run: Run) -> str:
    found = run.results.assessment
    energy = (
        "The energy test needs at least two complete rows."
        if found.energy is None
        else _sentence(str(found.energy))
    )
    classifier = (
        "There are too few complete rows to train a classifier."
        if found.classifier is None
        else _sentence(str(found.classifier))
    )
    text = (
        f"{energy} {classifier} Both tests ask whether test rows can be told from draws, including "
        "by the dependence between columns. A reported difference is significant at the 1% level; "
        "with few rows, finding none says little."
    )
    if found.complete < found.compared:
        text += f" {found.compared - found.complete} rows with missing values were left out."
    if run.density.columns_.context:
        text += " Draws with the contexts of one half of the rows are compared with the other half."
    return text


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


_COLUMNS = (
    "Sorted by the p-value of their ranks, corrected for the number of columns. The calibration "
    "error is the mean distance of the ranks' distribution from the uniform one, with the value "
    "expected by chance in parentheses. The classifier use is how much its AUC falls without "
    "the column."
)


def _settled(run: Run) -> str:
    """Return what was detected and decided about the table."""
    lines = run.results.settled
    return f"Detected and decided: {'; '.join(lines)}." if lines else ""


def _rows(run: Run) -> str:
    count = len(run.density.reference_)
    return (
        "The test rows of lowest log density, numbered from 0. The p-value is the fraction of "
        f"{count} validation rows that are at most as likely: one in a hundred ordinary rows has "
        f"a p-value below 0.01, and the smallest possible one is {1 / (count + 1):.2g}. Where no "
        "single value is unusual, the combination of values is."
    )


def _training(run: Run) -> str:
    step, best = max(run.density.curve_, key=lambda each: each[1])
    most = run.density.settings_.steps
    text = (
        "The mean log density, in nats per row, and over the flows of an ensemble. Each flow, and "
        "each network of the categories, keeps the weights that were best on the validation rows. "
        f"Their mean was best after {step} of at most {most} steps, with {best:.4g} nats."
    )
    if run.density.columns_.has_grids or run.density.columns_.missing:
        text += (
            " Training uses a lower bound with one noise draw, which is below the log density in "
            "the results."
        )
    return text
