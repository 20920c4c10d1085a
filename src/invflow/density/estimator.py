"""The density of a table, as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from invflow import _checks, training
from invflow._checks import plain
from invflow.density.checks.calibration import Calibration, anomaly, calibrate
from invflow.density.checks.two_sample import EnergyTest, two_sample
from invflow.density.learning import conditional, draws, expectation, maximum_likelihood
from invflow.density.learning.build import build
from invflow.density.learning.defaults import defaults, settled
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.scores import log_density
from invflow.density.table import Columns, Rows, arrays, source, survey
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats
from invflow.training.batches import generator
from invflow.training.progress import progress

try:
    import pandas as pd
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted

    from invflow.density.learning import inputs, saved
except ImportError as error:
    raise ImportError(
        'the estimator needs pandas and scikit-learn: pip install "invflow[density]"'
    ) from error

#: Rows encoded or filled at once.
ROWS_AT_ONCE = 8192


class FlowDensity(DensityMixin, BaseEstimator):
    r"""The density of a table's rows, learned by maximum likelihood.

    Numbers are standardised internally, and densities are in the units of the table. Text, booleans
    and pandas' categories are categorical, and count with their probability. So do numbers that
    move in steps, integers and dates among them: they are dequantised, and training maximises a
    bound on their probability. A fraction of the rows is used for validation, and training stops
    when these no longer improve.

    Args:
        flow: name of the flow: "nsf", "maf", "iaf", "realnvp", "gaussian", ...
        transforms: number of transforms; None for the flow's default.
        hidden_features: widths of hidden layers; None for what suits the size of the table.
        ensemble: number of flows, trained from different weights, whose densities are averaged;
            None for what suits the size of the table.
        flow_options: further arguments of the flow.
        kinds: of some columns, by label: "continuous", "integer", "categorical" or "ordinal"; the
            open interval (low, high) of a continuous column, with None for no bound;
            ("integer", low, high), bounds included, such as ("integer", 0, None) for counts;
            ("grid", step) or ("grid", step, low, high) for numbers that move in steps; or
            ("ordinal", levels), from the lowest to the highest; or "date" for dates that are
            not split into weeks, days and hours. The kinds of other columns are found (`survey`).
        conditional_on: labels of the columns that the density is conditional on. A label is any
            label in pandas, including numbers; for an array, or a table whose labels are all
            strings, a number is the position of a column.
        missing: "refuse" missing values, "marginalise" over them, or "learn" where they are: draws
            have gaps as the table has them, and scores say how usual the gaps of a row are.
        steps: largest number of updates; None for what suits the size of the table.
        batch_size: rows per update; None as for `steps`.
        learning_rate: AdamW's initial learning rate; it decays to zero along a cosine.
        weight_decay: of AdamW; None as for `steps`.
        validation_fraction: fraction of the rows used for validation; None as for `steps`.
        patience: stop after this many evaluations without improvement (0: never).
        accelerator: "cpu", "cuda", "auto", ... as in Lightning Fabric.
        precision: "32-true", "64-true" or "bf16-mixed".
        compile: whether to compile the flow with `torch.compile` while it is trained.
        progress: whether to show a progress bar.
        random_state: random seed.

    Attributes:
        columns_: the columns of the table.
        model_: the density, a `TableDensity`.
        settings_: the settings that were chosen by the size of the table, or given.
        imputer_: the proposal for missing values if these are marginalised, else None.
        curve_: steps and mean bounds on the log density of the validation rows, in nats.
        reference_: log densities of the validation rows, which were also used to stop training, in
            ascending order; for a distilled density, those of draws of its teacher.
        log_cell_: log volume of a cell of the columns that move in steps, in the units of the table
            (of dates, in seconds). A score minus this is the log of the mean density in the cell,
            which can be compared with densities that know no steps; zero if all steps are 1.
        levels_: names of the levels of the columns' labels, as in pandas.
        container_: what it was trained on, and so returns: an array, or a table of a library.
        n_features_in_: number of columns of the table.

    Example:
        >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (500, 2))
        >>> density = FlowDensity("maf", steps=50, random_state=0).fit(rows)
        >>> density.score_samples(rows).shape, density.sample(3, random_state=0).shape
        ((500,), (3, 2))
    """

    n_features_in_: int
    feature_names_in_: Any
    levels_: tuple[Label, ...]

    def __init__(
        self,
        flow: str = "nsf",
        *,
        transforms: int | None = None,
        hidden_features: Sequence[int] | None = None,
        ensemble: int | None = None,
        flow_options: Mapping[str, Any] | None = None,
        kinds: Mapping[Any, Any] | None = None,
        conditional_on: Sequence[Any] = (),
        missing: str = "refuse",
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 2e-3,
        weight_decay: float | None = None,
        validation_fraction: float | None = None,
        patience: int = 10,
        accelerator: str = "cpu",
        precision: str = "32-true",
        compile: bool = False,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        self.flow = flow
        self.transforms = transforms
        self.hidden_features = hidden_features
        self.ensemble = ensemble
        self.flow_options = flow_options
        self.kinds = kinds
        self.conditional_on = conditional_on
        self.missing = missing
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.accelerator = accelerator
        self.precision = precision
        self.compile = compile
        self.progress = progress
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the density of a table.

        Args:
            X: an array or a table, shape (rows, columns): a DataFrame of pandas or polars, an Arrow
                table, a DuckDB relation, ...; or a `Source`, such as a `Parquet` file that does not
                fit into memory.
            y: ignored.

        Raises:
            TypeError: if an argument has the wrong type.
            ValueError: if an argument is out of range, or the table does not have a density (see
                `survey`).
            FloatingPointError: if the training diverges.
        """
        if not _checks.boolean("progress", self.progress):
            return self.learn(X)
        with progress("training", self.steps) as move:
            return self.learn(X, report=move)

    def learn(
        self,
        X: Any,
        *,
        columns: Columns | None = None,
        directory: Path | None = None,
        report: maximum_likelihood.Report = lambda step, line: None,
        ready: Callable[[], None] = lambda: None,
    ) -> Self:
        """Learn the density of a table like `fit`, as part of a run.

        Args:
            X: as for `fit`.
            columns: of the table, or of a larger table that it is a part of; None to `survey` it.
            directory: of the run, for checkpoints, from which training resumes; None for none.
            report: called after every step.
            ready: called when all arguments have been checked, before anything is written.

        Raises:
            TypeError, FloatingPointError: as `fit`.
            ValueError: as `fit`; also if a checkpoint is damaged or belongs to another run.
        """
        table, self.container_ = inputs.learned(self, X)
        chosen = self.settings_ = settled(self, defaults(self.flow, sum(table.blocks)))
        fraction = _checks.fraction("validation_fraction", chosen.validation_fraction)
        compile = _checks.boolean("compile", self.compile)
        seed = _seed(self.random_state)
        if columns is None:
            columns = survey(table, self.kinds, self.conditional_on, self.missing)
        train, validation = (
            Rows(part, columns)
            for part in source.split(table, fraction, np.random.default_rng(seed))
        )
        settings = maximum_likelihood.settings(
            seed,
            steps=chosen.steps,
            batch_size=chosen.batch_size,
            learning_rate=plain(self.learning_rate),
            weight_decay=chosen.weight_decay,
            evaluate_every=chosen.evaluate_every,
            patience=plain(self.patience),
        )
        model, imputer = build(
            columns,
            seed,
            self.flow,
            self.transforms,
            chosen.hidden_features,
            self.flow_options,
            chosen.ensemble,
        )
        fabric = training.launch(self.accelerator, 1, self.precision)
        ready()
        self.curve_ = maximum_likelihood.fit(
            model, imputer, train, validation, settings, fabric, directory, report, compile
        )
        self.columns_ = columns
        self.model_ = model.cpu().eval()
        self.imputer_ = None if imputer is None else imputer.cpu().eval()
        self.reference_ = np.sort(log_density(self.model_, self.imputer_, validation))
        return self

    @property
    def log_cell_(self) -> float:
        check_is_fitted(self, "model_")
        return self.columns_.log_cell

    def score_samples(self, X: Any) -> Floats:
        """Return the log density of rows, in nats and the units of the table, shape (rows,).

        It is the density of the other columns given those in `conditional_on`. For categories and
        numbers that move in steps it is a probability (see `log_cell_`). Rows with a value outside
        declared bounds of its column have density zero. Missing values are integrated out.

        Args:
            X: as for `fit`.

        Raises:
            ValueError: if columns differ from training, or a value is not of its column's kind.
        """
        rows = self._rows(X)
        return log_density(self.model_, self.imputer_, rows)

    def score(self, X: Any, y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the mean log density of rows, in nats.

        Args:
            X: as for `fit`.
            y: ignored.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, *, given: Any = None, random_state: Any = None) -> Any:
        """Return rows drawn from the density, with the columns and types of the table.

        Args:
            n_samples: number of rows.
            given: for a conditional density, a DataFrame or a mapping with the columns that it is
                conditional on, or a DataFrame of whole rows, whose other columns are ignored; if
                it was trained on an array, also an array, shape (rows, contexts), in the order of
                `conditional_on`. One row for all draws, or one for each.
            random_state: random seed.

        Returns:
            A table of the library that the density was trained on, or an array.

        Raises:
            TypeError: if `given` has another type.
            ValueError: if a column of `given` is missing, unknown or not allowed, or the number of
                its rows is wrong.
        """
        check_is_fitted(self, "model_")
        count = _checks.positive_integer("n_samples", n_samples)
        given = inputs.contexts(self, given, count, self.columns_)
        context = torch.from_numpy(arrays.context(given, self.columns_))
        noise = generator("cpu", _seed(random_state))
        return self._table(draws.draw(self.model_, context, noise), given)

    def sample_conditional(self, X: Any, n_samples: int = 1, *, random_state: Any = None) -> Any:
        """Return rows whose missing values are drawn, given the observed values.

        Any columns can be drawn given any others, if the density was trained with
        missing="marginalise" or "learn", even on a table without missing values. Where gaps are
        learned, they are filled as if their values had been observed.

        Args:
            X: as for `fit`, with missing values.
            n_samples: draws for each row.
            random_state: random seed.

        Returns:
            All rows with the first draw, then all rows with the second, and so on: n_samples * rows
            rows, a table of the library that the density was trained on, or an array.

        Raises:
            ValueError: if the density was trained without missing="marginalise", or is zero at the
                observed values of a row; also as `score_samples`.
        """
        imputer = self._gaps()
        count = _checks.positive_integer("n_samples", n_samples)
        rows = self._rows(X)
        noise = generator("cpu", _seed(random_state))
        drawn: list[Tensor] = []
        effective: list[Tensor] = []
        for x, context in rows.parts(ROWS_AT_ONCE):
            x = conditional.to_be_filled(self.model_, x)
            values, number = conditional.draw(self.model_, imputer, x, context, count, noise)
            drawn.append(values)
            effective.append(number)
        _warn_if_rough(torch.cat(effective))
        return self._filled(torch.cat(drawn, 1).flatten(0, 1), rows, count)

    def impute(self, X: Any, *, random_state: Any = None) -> Any:
        """Return rows with missing values filled by one draw each, as `sample_conditional`.

        A draw has the spread of the data. For the best guess take `expected`.
        """
        return self.sample_conditional(X, random_state=random_state)

    def expected(self, X: Any, *, random_state: Any = None) -> Any:
        """Return rows with missing values filled by their expectation given the observed values.

        Numbers are filled by their mean, which has the smallest mean square error, and categories
        by the most probable one. The mean need not lie on the grid of its column; it is rounded
        only where the dtype holds nothing between, as for integers and dates. Filled rows vary
        less than rows of the table: to analyse these, take several draws (`sample_conditional`).

        Args:
            X: as for `fit`, with missing values.
            random_state: random seed of the candidates that are averaged.

        Returns:
            As `sample_conditional`, once for each row.

        Raises:
            ValueError: as `sample_conditional`.

        Example:
            >>> x = np.random.default_rng(0).normal(5.0, 0.1, (500, 2))
            >>> density = FlowDensity("gaussian", missing="marginalise", steps=200, random_state=0)
            >>> density.fit(x).expected([[5.0, np.nan]], random_state=0).round(1)
            array([[5., 5.]])
        """
        imputer = self._gaps()
        rows = self._rows(X)
        noise = generator("cpu", _seed(random_state))
        parts = [
            expectation.expected(
                self.model_, imputer, conditional.to_be_filled(self.model_, x), context, noise
            )
            for x, context in rows.parts(ROWS_AT_ONCE)
        ]
        found, effective = (torch.cat(part) for part in zip(*parts, strict=True))
        _warn_if_rough(effective)
        return self._filled(found, rows, 1)

    def noise(self, X: Any, random_state: Any = None) -> Floats:
        """Return the noise of the flow's base that maps to rows, shape (rows, features).

        If the density is correct, the noise has the distribution of the base, by default standard
        normal. A category has a random normal number in its part of the distribution function.
        Numbers that move in steps are dequantised at random; for them it holds if the density is
        also uniform within a step.

        Args:
            X: as for `fit`.
            random_state: random seed of the dequantisation.

        Raises:
            ValueError: if a value is missing or outside its bounds, or the flow is an ensemble;
                also as `score_samples`.

        Example:
            >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (500, 2))
            >>> density = FlowDensity("gaussian", steps=200, random_state=0).fit(rows)
            >>> z = density.noise(rows)
            >>> bool(abs(z.mean()) < 0.2), bool(abs(z.std() - 1) < 0.2)
            (True, True)
        """
        x, context = self._tensors(X)
        if x.isnan().any():
            raise ValueError("noise needs complete rows, got missing values (NaN)")
        return draws.noise(self.model_, x, context, generator("cpu", _seed(random_state))).numpy()

    def calibrate(self, X: Any, random_state: Any = None) -> Calibration:
        """Test whether the density is calibrated on held-out rows, column by column.

        If the density is correct, ranks of values among draws given the same context are uniform
        (`calibration.calibrate`). If its noise must be normal, whole rows are tested too.

        Args:
            X: two or more rows that the density was not trained on, as for `fit`.
            random_state: random seed.

        Raises:
            ValueError: as `score_samples`.
            ImportError: if SciPy is not installed.

        Example:
            >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (600, 2))
            >>> density = FlowDensity("gaussian", steps=200, random_state=0).fit(rows[100:])
            >>> density.calibrate(rows[:100], random_state=0).rejected
            []
            >>> density.calibrate(rows[:100] * 1.1, random_state=0).rejected
            ['x0', 'x1', 'whole rows']
        """
        x, context = self._tensors(X)
        found = draws.ranks(self.model_, x, context, _seed(random_state))
        names = [column.name for column in self.columns_.features]
        joint = draws.radial(self.model_, x, context)
        return calibrate(found.values, names=names, draws=found.draws, joint=joint)

    def anomaly_scores(self, X: Any) -> Floats:
        """Return p-values of rows: the fraction of validation rows of the same or lower density.

        They are in (0, 1], small for anomalies (`calibration.anomaly`), and only approximately
        valid, because the validation rows were also used to stop training. Rows with missing values
        are compared by the density of their observed values, which has other units: their p-values
        are valid if as many values are missing in the validation rows.

        Args:
            X: as for `fit`.

        Raises:
            ValueError: as `score_samples`.

        Example:
            >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (500, 2))
            >>> density = FlowDensity("gaussian", steps=200, random_state=0).fit(rows)
            >>> usual, odd = density.anomaly_scores([[5.0, 5.0], [9.0, 5.0]])
            >>> bool(usual > 0.5), bool(odd < 0.05)
            (True, True)
        """
        return anomaly(self.score_samples(X), self.reference_)

    def two_sample(self, X: Any, random_state: Any = None) -> EnergyTest:
        """Test whether held-out rows differ from as many draws (`two_sample.two_sample`).

        Rows with missing values are left out. For a conditional density, draws given the contexts
        of one half of the rows are compared with the other half, contexts included.

        Args:
            X: rows that the density was not trained on, as for `fit`.
            random_state: random seed of draws and permutations.

        Raises:
            ValueError: if there are too few complete rows; also as `score_samples`.
            ImportError: if SciPy is not installed.

        Example:
            >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (600, 2))
            >>> density = FlowDensity("gaussian", steps=200, random_state=0).fit(rows[100:])
            >>> density.two_sample(rows[:100], random_state=0).differs
            False
        """
        x, context = self._tensors(X)
        seed = _seed(random_state)
        rows, drawn, names = draws.pair(self.model_, x, context, seed)
        return two_sample(rows, drawn, names=names, seed=seed)

    def save(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors` to a directory.

        Each file is written completely or not at all.

        Raises:
            ValueError: if an argument cannot be saved as JSON.
        """
        check_is_fitted(self, "model_")
        saved.write(self, Path(directory))

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Return an estimator that `save` has written. No code from the files is run.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file is damaged, of another kind, or from a newer version.
        """
        return saved.read(cls, Path(directory))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "refuse"
        tags.non_deterministic = False
        return tags

    def _rows(self, X: Any) -> Rows:
        check_is_fitted(self, "model_")
        return inputs.scored(self, X, self.columns_)

    def _tensors(self, X: Any) -> tuple[Tensor, Tensor]:
        parts = list(self._rows(X).parts(ROWS_AT_ONCE))
        x, context = (torch.cat(part) for part in zip(*parts, strict=True))
        return x, context

    def _gaps(self) -> Imputer:
        check_is_fitted(self, "model_")
        if self.imputer_ is None:
            raise ValueError(
                "missing values can be filled only by a density that was trained with missing set "
                "to marginalise or learn"
            )
        return self.imputer_

    def _filled(self, x: Tensor, rows: Rows, count: int) -> Any:
        once = pd.concat([rows.frame(number) for number in range(len(rows.blocks))])
        given = pd.concat([once] * count)
        frame = arrays.frame(x.numpy(), given, self.columns_, self.levels_)
        return self.container_.give(arrays.filled(frame, given, self.columns_))

    def _table(self, x: Tensor, given: pd.DataFrame) -> Any:
        return self.container_.give(arrays.frame(x.numpy(), given, self.columns_, self.levels_))


def _seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(2**31))


def _warn_if_rough(effective: Tensor) -> None:
    poor = int((effective < conditional.FEWEST_EFFECTIVE).sum())
    if poor:
        warnings.warn(
            f"for {poor} row(s) the effective number of candidates is below "
            f"{conditional.FEWEST_EFFECTIVE}, so that the values drawn there are rough",
            UserWarning,
            stacklevel=3,
        )
