"""Files larger than memory: trained on and scored a few row groups at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invflow.density import FlowDensity
from invflow.density.table import Frame, Parquet

CAPPED = """
import os
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve what they may never use
os.environ["MALLOC_ARENA_MAX"] = "1"
import resource, sys
import numpy as np, pyarrow as pa
from pyarrow import parquet
from invflow.density import FlowDensity
from invflow.density.table import Parquet

MIB = 2**20
GROUPS, ROWS, NAMES = 90, 20_000, ["a", "b", "c", "d"]

def write(path, groups):
    random = np.random.default_rng(0)
    with parquet.ParquetWriter(path, pa.schema([(name, pa.float64()) for name in NAMES])) as file:
        for _ in range(groups):
            x = np.round(random.standard_normal((ROWS, 4)) * 64) / 64
            file.write_table(pa.table(dict(zip(NAMES, x.T))))

def fit(path):
    density = FlowDensity(
        "gaussian", steps=40, batch_size=1024, validation_fraction=0.02, random_state=0
    )
    return density.fit(Parquet(path))

def used():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))

write("small.parquet", 12)
write("large.parquet", GROUPS)
fit("small.parquet")  # imports what is imported late, and fills pools
_, most = resource.getrlimit(resource.RLIMIT_DATA)
cap = used() + 32 * MIB
assert 1.7 * 32 * MIB < GROUPS * ROWS * len(NAMES) * 8
resource.setrlimit(resource.RLIMIT_DATA, (cap, most))
density = fit("large.parquet")
assert density.columns_.rows == GROUPS * ROWS
assert used() <= cap
print("trained", density.score(Parquet("small.parquet")))
try:
    Parquet("large.parquet").whole()
except MemoryError:
    print("whole: MemoryError")
resource.setrlimit(resource.RLIMIT_DATA, (most, most))
print("whole, without the cap:", Parquet("large.parquet").whole().blocks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel limits no other's memory this way")
def test_training_in_less_memory_than_the_table_takes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CAPPED], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    trained, capped, free = done.stdout.splitlines()
    # The columns are independent standard normal ones, on grids of step 1/64.
    entropy = 4 * (0.5 * (1 + np.log(2 * np.pi)) + np.log(64))
    assert float(trained.split()[1]) == pytest.approx(-entropy, abs=0.02)
    assert capped == "whole: MemoryError"
    assert free == "whole, without the cap: (1800000,)"


COUNT = 300


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    source = np.random.default_rng(0)
    x = source.normal(size=COUNT)
    return pd.DataFrame(
        {
            "x": 1000 + x,
            "n": source.poisson(3 + x**2),
            "group": source.choice(["u", "v"], COUNT),
        }
    )


@pytest.fixture(scope="module")
def path(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streaming") / "t.parquet"
    frame.to_parquet(path, row_group_size=37)
    return path


@pytest.fixture(scope="module")
def density(path: Path) -> FlowDensity:
    return FlowDensity(
        "maf",
        transforms=1,
        hidden_features=(8,),
        conditional_on=["group"],
        steps=60,
        random_state=0,
    ).fit(Parquet(path))


def test_scores_are_those_of_the_table_in_memory(
    frame: pd.DataFrame, path: Path, density: FlowDensity
) -> None:
    streamed = density.score_samples(Parquet(path))
    assert streamed.shape == (COUNT,)
    np.testing.assert_allclose(streamed, density.score_samples(frame), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(streamed, density.score_samples(Frame(frame)), rtol=1e-5, atol=1e-5)


def test_columns_may_come_in_another_order(
    frame: pd.DataFrame, path: Path, density: FlowDensity
) -> None:
    other = density.score_samples(Frame(frame[["group", "n", "x"]]))
    np.testing.assert_allclose(other, density.score_samples(Parquet(path)), rtol=1e-5, atol=1e-5)


def test_one_row_group_is_trained_on_as_a_table_in_memory(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.to_parquet(tmp_path / "one.parquet")
    options = {"transforms": 1, "hidden_features": (8,), "conditional_on": ["group"], "steps": 5}
    one = FlowDensity("maf", random_state=1, **options).fit(Parquet(tmp_path / "one.parquet"))
    other = FlowDensity("maf", random_state=1, **options).fit(frame)
    np.testing.assert_array_equal(one.score_samples(frame), other.score_samples(frame))
    np.testing.assert_array_equal(one.reference_, other.reference_)


def test_draws_are_a_table(path: Path, density: FlowDensity) -> None:
    drawn = density.sample(5, given={"group": "u"}, random_state=0)
    assert list(drawn.columns) == ["x", "n", "group"]
    assert drawn.dtypes["n"] == np.int64


def test_gaps_of_a_streamed_table_are_filled(frame: pd.DataFrame, tmp_path: Path) -> None:
    holes = frame[["x", "n"]].astype(float)
    holes.loc[::7, "x"] = np.nan
    holes.to_parquet(tmp_path / "t.parquet", row_group_size=50)
    source = Parquet(tmp_path / "t.parquet")
    density = FlowDensity(
        "maf", transforms=1, hidden_features=(8,), missing="marginalise", steps=5, random_state=0
    ).fit(source)
    filled = density.impute(source, random_state=0)
    assert not filled.isna().any().any()
    there = holes.notna().to_numpy()
    np.testing.assert_array_equal(filled.to_numpy()[there], holes.to_numpy()[there])
    np.testing.assert_allclose(
        density.score_samples(source), density.score_samples(holes), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("x", np.inf, "'x' has inf in row 200"),
        ("x", np.nan, r"'x' has a missing value \(NaN\) in row 200"),
        (
            "group",
            None,
            "'group', which the density is conditional on, has a missing value in row 200",
        ),
    ],
)
def test_errors_name_the_row_of_the_file(
    frame: pd.DataFrame,
    density: FlowDensity,
    tmp_path: Path,
    column: str,
    value: object,
    message: str,
) -> None:
    """Not that of the row group, the sixth here."""
    bad = frame.astype({"n": float})
    bad.loc[200, column] = value
    bad.to_parquet(tmp_path / "t.parquet", row_group_size=37)
    with pytest.raises(ValueError, match=message):
        density.score_samples(Parquet(tmp_path / "t.parquet"))


@pytest.mark.parametrize("conditional_on", [[], ["t"]])
def test_errors_in_training_name_the_row_of_the_file(
    tmp_path: Path, conditional_on: list[str]
) -> None:
    bad = pd.DataFrame(np.random.default_rng(0).normal(size=(90, 2)), columns=["x", "t"])
    bad.loc[71, "t"] = np.inf
    bad.to_parquet(tmp_path / "t.parquet", row_group_size=37)
    with pytest.raises(ValueError, match="'t' has inf in row 71"):
        FlowDensity("gaussian", conditional_on=conditional_on).fit(Parquet(tmp_path / "t.parquet"))


def test_a_far_context_is_named_by_the_row_of_the_file(tmp_path: Path) -> None:
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(90, 2)), columns=["x", "t"])
    density = FlowDensity("gaussian", conditional_on=["t"], steps=5, random_state=0).fit(rows)
    rows.loc[71, "t"] = 1e20
    rows.to_parquet(tmp_path / "t.parquet", row_group_size=37)
    with pytest.raises(ValueError, match=r"has 1e\+20 in row 71, far outside"):
        density.score_samples(Parquet(tmp_path / "t.parquet"))
