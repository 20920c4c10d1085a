"""The density of a table, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from invflow import _checks, training
from invflow._checks import plain
from invflow.density.learning import maximum_likelihood
from invflow.density.learning.build import build
from invflow.density.learning.defaults import defaults, settled
from invflow.density.learning.scores import log_density
from invflow.density.table import Columns, Rows, source, survey
from invflow.flows.compiling import worth_compiling
from invflow.training.progress import progress

try:
    from sklearn.base import BaseEstimator
    from sklearn.utils.validation import check_is_fitted

    from invflow.density.checking import Checking
    from invflow.density.classifying import Classifying
    from invflow.density.filling import Filling
    from invflow.density.learning import inputs, saved
    from invflow.density.scoring import seed_of
except ImportError as error:
    raise ImportError(
        'the estimator needs pandas and scikit-learn: pip install "invflow[density]"'
    ) from error


class FlowDensity(Filling, Classifying, Checking, BaseEstimator):
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
        seed = seed_of(self.random_state)
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
        compile = compile and worth_compiling(model, fabric.device, self.precision)
        ready()
        self.curve_ = maximum_likelihood.fit(
            model, imputer, train, validation, settings, fabric, directory, report, compile
        )
        self.columns_ = columns
        self.model_ = model.cpu().eval()
        self.imputer_ = None if imputer is None else imputer.cpu().eval()
        self.reference_ = np.sort(log_density(self.model_, self.imputer_, validation))
        return self

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
