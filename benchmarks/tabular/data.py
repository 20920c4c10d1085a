"""The tables, and their rows as numbers for tools that take only numbers.

Text is categories, everything else is numbers, as pandas reads it. Only complete rows are kept.

| table | rows | columns | what is predicted |
| --- | --- | --- | --- |
| penguins | 333 | 3 categories, 5 numbers | species |
| telco | 1,995, without the customer's number | 16 categories, 4 numbers | Churn |
| titanic | 126, without id, name, ticket and cabin | 2 categories, 6 numbers | Survived |
| protein, parkinsons | 1,500, drawn with seed 0 | 10, 21 numbers | the last column |
| elevators | 1,500, drawn with seed 0 | 19 numbers | the last column |
| breast_cancer | 569 of scikit-learn | 30 numbers | |
| digits | 1,797 of scikit-learn | 64 numbers | |
| wine | 1,499, without the quality | 11 numbers | |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MIXED = ("penguins", "telco", "titanic")
NUMERIC = ("protein", "parkinsons", "elevators")
#: The column to predict; of numeric tables it is the last one.
TARGETS = {"penguins": "species", "telco": "Churn", "titanic": "Survived"}
#: Columns with a different value in nearly every row, and nearly constant ones.
LEFT_OUT = {
    "telco": ["customerID"],
    "titanic": ["PassengerId", "Name", "Ticket", "Cabin"],
}
ROWS = 1500
Floats = NDArray[np.float64]


def load(name: str, folder: Path) -> pd.DataFrame:
    """Return the complete rows of a table."""
    if name in NUMERIC:
        rows = np.load(folder / "tabular" / f"{name}.npz")["data"]
        rows = rows[np.random.default_rng(0).permutation(len(rows))[:ROWS]]
        frame = pd.DataFrame(rows, columns=[f"x{i}" for i in range(rows.shape[1])])
    else:
        frame = pd.read_csv(folder / "wild" / f"{name}.csv", na_values=[" "])
    return frame.drop(columns=LEFT_OUT.get(name, [])).dropna().reset_index(drop=True)


def target(name: str, frame: pd.DataFrame) -> str:
    """Return the column to predict."""
    return TARGETS.get(name, str(frame.columns[-1]))


def split(frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two thirds of the rows to learn from, and a third to test on."""
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = len(frame) * 2 // 3
    train, test = frame.iloc[order[:cut]], frame.iloc[order[cut:]]
    return train.reset_index(drop=True), test.reset_index(drop=True)


class Encoder:
    """Rows as numbers: standardised ones, and zeros and ones for categories.

    Args:
        frame: gives the means, standard deviations and categories; it may have gaps.

    Attributes:
        numbers: the columns of numbers, which come first.
        levels: the categories of the other columns.
        places: where the zeros and ones of each of these are.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.columns = list(frame.columns)
        self.numbers = [c for c in self.columns if pd.api.types.is_numeric_dtype(frame[c])]
        values = frame[self.numbers].astype(float)
        self.mean, self.sd = values.mean(), values.std(ddof=0).replace(0.0, 1.0)
        self.levels = {
            column: sorted(frame[column].dropna().unique())
            for column in self.columns
            if column not in self.numbers
        }
        ends = len(self.numbers) + np.cumsum([len(each) for each in self.levels.values()])
        self.places = [
            slice(end - len(each), end)
            for end, each in zip(ends, self.levels.values(), strict=True)
        ]

    def encode(self, frame: pd.DataFrame) -> Floats:
        """Return the rows as numbers, NaN where missing; a new category is all zeros."""
        parts: list[Any] = [((frame[self.numbers].astype(float) - self.mean) / self.sd).to_numpy()]
        for column, levels in self.levels.items():
            own = frame[column].to_numpy(dtype=object)[:, None]
            hot = (own == np.array(levels, dtype=object)).astype(float)
            parts.append(np.where(frame[column].isna().to_numpy()[:, None], np.nan, hot))
        return np.concatenate(parts, 1)

    def decode(self, rows: Floats) -> pd.DataFrame:
        """Return the table of rows of numbers, with the category that has the largest one."""
        found: dict[str, Any] = {
            column: self.mean[column] + self.sd[column] * rows[:, i]
            for i, column in enumerate(self.numbers)
        }
        for (column, levels), place in zip(self.levels.items(), self.places, strict=True):
            found[column] = np.array(levels, dtype=object)[rows[:, place].argmax(1)]
        return pd.DataFrame(found)[self.columns]
