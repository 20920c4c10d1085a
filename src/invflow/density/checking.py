"""Whether to trust a density: its noise, its calibration, and tests on held-out rows."""

from __future__ import annotations

from typing import Any

from invflow.density.checks.calibration import Calibration, anomaly, calibrate
from invflow.density.checks.two_sample import EnergyTest, two_sample
from invflow.density.learning import draws
from invflow.density.scoring import Scoring, seed_of
from invflow.density.table.samples import Floats
from invflow.training.batches import generator


class Checking(Scoring):
    """Compares rows with a density."""

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
            >>> import numpy as np
            >>> from invflow.density import FlowDensity
            >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (500, 2))
            >>> density = FlowDensity("gaussian", steps=200, random_state=0).fit(rows)
            >>> z = density.noise(rows)
            >>> bool(abs(z.mean()) < 0.2), bool(abs(z.std() - 1) < 0.2)
            (True, True)
        """
        x, context = self._tensors(X)
        if x.isnan().any():
            raise ValueError("noise needs complete rows, got missing values (NaN)")
        return draws.noise(self.model_, x, context, generator("cpu", seed_of(random_state))).numpy()

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
            >>> import numpy as np
            >>> from invflow.density import FlowDensity
            >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (600, 2))
            >>> density = FlowDensity("gaussian", steps=200, random_state=0).fit(rows[100:])
            >>> density.calibrate(rows[:100], random_state=0).rejected
            []
            >>> density.calibrate(rows[:100] * 1.1, random_state=0).rejected
            ['x0', 'x1', 'whole rows']
        """
        x, context = self._tensors(X)
        found = draws.ranks(self.model_, x, context, seed_of(random_state))
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
            >>> import numpy as np
            >>> from invflow.density import FlowDensity
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
            >>> import numpy as np
            >>> from invflow.density import FlowDensity
            >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (600, 2))
            >>> density = FlowDensity("gaussian", steps=200, random_state=0).fit(rows[100:])
            >>> density.two_sample(rows[:100], random_state=0).differs
            False
        """
        x, context = self._tensors(X)
        seed = seed_of(random_state)
        rows, drawn, names = draws.pair(self.model_, x, context, seed)
        return two_sample(rows, drawn, names=names, seed=seed)
