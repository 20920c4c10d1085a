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
from invflow.density.checks.calibration import Calibration, anomaly, calibrate
from invflow.density.checks.two_sample import EnergyTest, two_sample
from invflow.density.learning import arguments, conditional, draws, maximum_likelihood
from invflow.density.learning.build import build
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.scores import log_density
from invflow.density.table import Columns, Rows, Source, arrays, source, survey
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats
from invflow.training.batches import generator
from invflow.training.progress import progress

try:
    import pandas as pd
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted

    from invflow.density.learning import saved, validation
except ImportError as error:
    raise ImportError(
        'the estimator needs pandas and scikit-learn: pip install "invflow[density]"'
    ) from error

#: Rows that are filled at once.
CHUNK = 8192


class FlowDensity(DensityMixin, BaseEstimator):
    r"""The density of a table's rows, learned by maximum likelihood.

    Columns are standardised inside, and densities come back in the units of the table. Columns of
    whole numbers are dequantised: what is learned of them is a bound on their probability. A part
    of the rows is set aside, and training ends where these no longer gain.

    Args:
        flow: name of the flow: "nsf", "maf", "iaf", "realnvp", "gaussian", ...
        transforms: number of transforms; None for the flow's own default.
        hidden_features: widths of hidden layers; None for the flow's own default.
        flow_options: further arguments of the flow.
        kinds: of some columns, by label: "continuous", "integer", "categorical"; the open interval
            (low, high) in which a continuous one lies, None where there is no bound; or
            ("integer", low, high), bounds included: of counts, ("integer", 0, None). Other columns
            are integer if all values are whole numbers, and else continuous.
        conditional_on: columns that the density is conditional on, by label; they alone may be
            categorical. A label is whatever pandas has, a number too; of an array, and of a table
            whose labels are all strings, a number is the place of a column.
        missing: what to do with missing values: "refuse" them, or "marginalise" over them.
        steps: number of updates, at most.
        batch_size: rows per update.
        learning_rate: Adam's at the start; it falls to zero along a cosine.
        validation_fraction: of the rows, to set aside.
        patience: so many evaluations in succession without a gain end the training; 0 for none
            that do. There is one each epoch, and one in 50 to 500 steps.
        accelerator: "cpu", "cuda", "auto", ... as Lightning Fabric knows them.
        precision: "32-true", "64-true" or "bf16-mixed".
        compile: whether to compile the flow with `torch.compile` while it is trained.
        progress: whether to show a progress bar.
        random_state: seed of everything random.

    Attributes:
        columns_: what the table holds.
        model_: the density, a `TableDensity`.
        imputer_: what fills gaps, where missing values are marginalised; else None.
        curve_: step and mean bound on the log density of the rows set aside, in nats.
        reference_: log densities of rows set aside, by which training has also chosen where to
            end, in ascending order; those of draws of its teacher, if it has been taught.
        levels_: names of the levels of the columns' labels, as pandas has them.
        gives_frames_: whether it was learned from a DataFrame or a file, and gives such back.
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
        flow_options: Mapping[str, Any] | None = None,
        kinds: Mapping[Any, Any] | None = None,
        conditional_on: Sequence[Any] = (),
        missing: str = "refuse",
        steps: int = 3000,
        batch_size: int = 256,
        learning_rate: float = 2e-3,
        validation_fraction: float = 0.1,
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
        self.flow_options = flow_options
        self.kinds = kinds
        self.conditional_on = conditional_on
        self.missing = missing
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
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
            X: an array or a DataFrame, shape (rows, columns); or a `Source`, such as a `Parquet`
                file that does not fit into memory.
            y: ignored.

        Raises:
            TypeError: an argument of the wrong type.
            ValueError: an argument out of range, or a table that has no density, as `survey` says.
            FloatingPointError: the training diverges.
        """
        if not self.progress:
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
        """Learn the density of a table as `fit` does, as part of a run.

        Args:
            X: as for `fit`.
            columns: what is known of the table, or of one that it is a part of; None to `survey`.
            directory: of the run, to go on where a checkpoint in it is; None to keep nothing.
            report: told of every step.
            ready: called once all arguments have been tried, before anything is on disk.

        Raises:
            As `fit`; and ValueError for a damaged checkpoint, or one of another run.
        """
        table = validation.learned(self, X)
        self.gives_frames_ = isinstance(X, Source | pd.DataFrame)
        fraction = arguments.fraction(self)
        seed = _seed(self.random_state)
        if columns is None:
            columns = survey(table, self.kinds, self.conditional_on, self.missing)
        train, aside = (
            Rows(part, columns)
            for part in source.split(table, fraction, np.random.default_rng(seed))
        )
        settings = arguments.settings(self, len(train), seed)
        model, imputer = build(
            columns, seed, self.flow, self.transforms, self.hidden_features, self.flow_options
        )
        fabric = training.launch(self.accelerator, 1, self.precision)
        ready()
        self.curve_ = maximum_likelihood.fit(
            model, imputer, train, aside, settings, fabric, directory, report, self.compile
        )
        self.columns_ = columns
        self.model_ = model.cpu().eval()
        self.imputer_ = None if imputer is None else imputer.cpu().eval()
        self.reference_ = np.sort(log_density(self.model_, self.imputer_, aside))
        return self

    def score_samples(self, X: Any) -> Floats:
        """Return the log density of rows, in nats and the units of the table, shape (rows,).

        Of columns in `conditional_on` it is no density, but given them. Values outside of a
        column's bounds have the density zero. Missing values are integrated over.

        Args:
            X: as for `fit`.

        Raises:
            ValueError: other columns than in training, or values that do not suit them.
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
            n_samples: how many.
            given: where the density is conditional, a DataFrame or a mapping with the columns that
                it is conditional on, or a DataFrame of whole rows, of which the other columns are
                passed over; if it was learned from an array, also an array, shape (rows, contexts),
                in the order of `conditional_on`. One row for all draws, or one for each.
            random_state: seed of the draws.

        Returns:
            A DataFrame if the density was learned from one, and else an array.

        Raises:
            TypeError: `given` is something else.
            ValueError: a column of `given` is missing, unknown or not wanted, or its rows are of
                another number.
        """
        check_is_fitted(self, "model_")
        count = _checks.positive_integer("n_samples", n_samples)
        given = validation.contexts(self, given, count, self.columns_)
        context = torch.from_numpy(arrays.context(given, self.columns_))
        noise = generator("cpu", _seed(random_state))
        return self._table(draws.draw(self.model_, context, noise), given)

    def sample_conditional(self, X: Any, n_samples: int = 1, *, random_state: Any = None) -> Any:
        """Return rows whose gaps are filled with draws, given what is there.

        So any columns can be drawn given any others, by a density that was learned with
        missing="marginalise", even from a table without gaps.

        Args:
            X: as for `fit`; what is missing is drawn.
            n_samples: draws for each row.
            random_state: seed of the draws.

        Returns:
            All rows with the first draw, then all with the second, and so on: n_samples * rows, a
            DataFrame if the density was learned from one, and else an array.

        Raises:
            ValueError: the density was learned without missing="marginalise", or is zero at what is
                there of a row; or as `score_samples`.
        """
        imputer = self._gaps()
        count = _checks.positive_integer("n_samples", n_samples)
        rows = self._rows(X)
        noise = generator("cpu", _seed(random_state))
        drawn: list[Tensor] = []
        effective: list[Tensor] = []
        for x, context in rows.parts(CHUNK):
            values, worth = conditional.draw(self.model_, imputer, x, context, count, noise)
            drawn.append(values)
            effective.append(worth)
        _warn(torch.cat(effective))
        frame = pd.concat([rows.frame(number) for number in range(len(rows.blocks))])
        return self._table(torch.cat(drawn, 1).flatten(0, 1), pd.concat([frame] * count))

    def impute(self, X: Any, *, random_state: Any = None) -> Any:
        """Return rows whose gaps are filled with one draw each: `sample_conditional` once."""
        return self.sample_conditional(X, random_state=random_state)

    def noise(self, X: Any, random_state: Any = None) -> Floats:
        """Return what noise of the flow's base rows are made of, shape (rows, features).

        If the density is right, it is distributed as the base, standard normal if nothing else
        was asked for. Whole numbers are dequantised at random; there it is so of a density that
        is even between them.

        Args:
            X: as for `fit`.
            random_state: seed of the dequantisation.

        Raises:
            TypeError: the flow is a mixture.
            ValueError: missing values, or values outside of their bounds; or as `score_samples`.

        Example:
            >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (500, 2))
            >>> density = FlowDensity("gaussian", steps=200, random_state=0).fit(rows)
            >>> z = density.noise(rows)
            >>> bool(abs(z.mean()) < 0.2), bool(abs(z.std() - 1) < 0.2)
            (True, True)
        """
        x, context = self._tensors(X)
        if x.isnan().any():
            raise ValueError("noise has complete rows only, got missing values (NaN)")
        return draws.noise(self.model_, x, context, generator("cpu", _seed(random_state))).numpy()

    def calibrate(self, X: Any, random_state: Any = None) -> Calibration:
        """Return whether held-out values are where the density says, column by column.

        Ranks of values among draws, given the same context, are uniform if the density is right
        (`calibration.calibrate`). Where noise is to be normal, whole rows are looked at too.

        Args:
            X: rows that the density has not been trained on, two or more; else as for `fit`.
            random_state: seed of the draws.

        Raises:
            ValueError: as `score_samples`.
            ImportError: SciPy is not installed.

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
        """Return how usual rows are: the share of rows set aside in training no likelier than they.

        p-values in (0, 1], small for anomalies (`calibration.anomaly`). They are only approximately
        valid, as the rows set aside have also chosen where training ends. Rows with gaps are
        compared by the density of what is there, which is a number of other units: their p-values
        hold among rows of which as much is missing as of those set aside.

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
        """Return whether held-out rows differ from as many draws (`two_sample.two_sample`).

        Rows with missing values are left out. Of a conditional density, draws given the contexts
        of one half of the rows are compared with the other half, contexts included.

        Args:
            X: rows that the density has not been trained on; else as for `fit`.
            random_state: seed of draws and permutations.

        Raises:
            ValueError: too few complete rows; or as `score_samples`.
            ImportError: SciPy is not installed.

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
        """Write `config.json` and `model.safetensors` into a directory, each whole or not at all.

        Raises:
            ValueError: an argument that JSON cannot hold.
        """
        check_is_fitted(self, "model_")
        saved.write(self, Path(directory))

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Return the estimator that `save` has written. No code from the files is run.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, foreign or newer than this version.
        """
        return saved.read(cls, Path(directory))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "marginalise"
        tags.non_deterministic = False
        return tags

    def _rows(self, X: Any) -> Rows:
        check_is_fitted(self, "model_")
        return validation.scored(self, X, self.columns_)

    def _tensors(self, X: Any) -> tuple[Tensor, Tensor]:
        parts = list(self._rows(X).parts(CHUNK))
        x, context = (torch.cat(part) for part in zip(*parts, strict=True))
        return x, context

    def _gaps(self) -> Imputer:
        check_is_fitted(self, "model_")
        if self.imputer_ is None:
            raise ValueError(
                "gaps can be filled only by a density that was learned with missing='marginalise'"
            )
        return self.imputer_

    def _table(self, x: Tensor, given: pd.DataFrame) -> Any:
        frame = arrays.frame(x.numpy(), given, self.columns_, self.levels_)
        return frame if self.gives_frames_ else frame.to_numpy()


def _seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(2**31))


def _warn(effective: Tensor) -> None:
    poor = int((effective < conditional.ENOUGH).sum())
    if poor:
        warnings.warn(
            f"of {poor} row(s) the draws are worth fewer than {conditional.ENOUGH} independent "
            "ones: what is drawn there is rough",
            UserWarning,
            stacklevel=3,
        )
