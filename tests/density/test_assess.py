"""What is said of a density whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from invflow.density import FlowDensity
from invflow.density.assess import assess
from invflow.density.learning import draws
from invflow.density.table import Frame
from invflow.training.batches import generator

CORRELATION = 0.8


def _rows(count: int, seed: int = 0) -> pd.DataFrame:
    """b given a is normal, as is a; k is a fair coin that shifts b."""
    source = np.random.default_rng(seed)
    a = source.normal(10.0, 2.0, count)
    k = source.choice(["x", "y"], count)
    b = CORRELATION * (a - 10.0) + source.normal(0.0, 0.6, count) + 4.0 * (k == "y")
    return pd.DataFrame({"a": a, "b": b, "k": k})


@pytest.fixture(scope="module")
def fitted() -> FlowDensity:
    """A Gaussian, which is the truth of a and b where k is x."""
    density = FlowDensity("gaussian", steps=400, learning_rate=0.02, random_state=0)
    frame = _rows(3000)
    return density.learn(Frame(frame[frame["k"] == "x"][["a", "b"]]))


@pytest.fixture(scope="module")
def conditional() -> FlowDensity:
    density = FlowDensity(
        "maf",
        transforms=2,
        hidden_features=(16,),
        ensemble=1,
        weight_decay=0.0,
        conditional_on=["k"],
        steps=300,
        learning_rate=0.01,
        random_state=0,
    )
    return density.learn(Frame(_rows(1500)))


def _of_x(count: int) -> pd.DataFrame:
    frame = _rows(2 * count + 100, seed=5)
    return frame[frame["k"] == "x"][["a", "b"]].iloc[:count].reset_index(drop=True)


def test_a_right_density_is_found_right(fitted: FlowDensity) -> None:
    test = _of_x(400)
    found = assess(fitted, Frame(test))
    assert found.calibration.rejected == []
    assert found.energy is not None
    assert not found.energy.differs
    assert found.classifier is not None
    assert found.classifier.p_value > 0.01
    truth = stats.norm(10, 2).logpdf(test["a"]) + stats.norm(
        CORRELATION * (test["a"] - 10), 0.6
    ).logpdf(test["b"])
    assert found.log_density == pytest.approx(truth.mean(), abs=0.03)
    assert found.log_density_error == pytest.approx(truth.std(ddof=1) / 20, rel=0.1)
    assert all(sum(counts) == 400 for counts in found.histograms.values())


def test_the_worst_row_is_found_with_its_reason(fitted: FlowDensity) -> None:
    test = _of_x(60)
    test.loc[17] = (10.0, 9.0)
    test.loc[31] = (14.0, -3.0)  # neither is unusual alone
    found = assess(fitted, Frame(test))
    assert {found.worst[0].row, found.worst[1].row} == {17, 31}
    reasons = {each.row: each.reason for each in found.worst}
    assert reasons[17] == "b = 9, high"
    assert found.worst[0].log_density < found.worst[2].log_density - 5
    assert found.worst[0].p_value == pytest.approx(1 / (1 + len(fitted.reference_)))


def test_a_wrong_column_is_found(fitted: FlowDensity) -> None:
    test = _of_x(300)
    test["b"] *= 2
    found = assess(fitted, Frame(test))
    assert "b" in found.calibration.rejected
    assert found.worst_columns[0] == "b"
    assert found.energy is not None
    assert found.energy.differs


def test_a_wrong_dependence_shows_in_whole_rows_alone(fitted: FlowDensity) -> None:
    test = _of_x(300)
    test["b"] = test["b"].to_numpy()[::-1]
    found = assess(fitted, Frame(test))
    assert found.calibration.rejected == ["whole rows"]
    assert found.energy is not None
    assert found.energy.p_value < 0.005


def test_few_rows_are_assessed_as_far_as_they_go(fitted: FlowDensity) -> None:
    found = assess(fitted, Frame(_of_x(2)))
    assert found.classifier is None
    assert len(found.worst) == 2


def test_rows_given_others(conditional: FlowDensity) -> None:
    test = _rows(500, seed=1)
    found = assess(conditional, Frame(test))
    assert found.calibration.rejected == []
    assert found.energy is not None
    assert found.energy.rows == (250, 250)
    assert not found.energy.differs
    # With the contexts exchanged no column differs from what it was, but the rows do.
    test["k"] = np.where(test["k"] == "x", "y", "x")
    wrong = assess(conditional, Frame(test))
    assert "b" in wrong.calibration.rejected
    assert wrong.energy is not None
    assert wrong.energy.differs


def test_ranks_given_contexts_are_uniform_at_any_number_of_draws(
    conditional: FlowDensity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that the model itself has drawn: their ranks are exactly uniform."""
    monkeypatch.setattr(draws, "DRAWS_PER_ROW", 3)
    given = _rows(1000, seed=2)[["k"]]
    drawn = conditional.sample(1000, given=given, random_state=4)
    x = torch.tensor(drawn[["a", "b"]].to_numpy())
    context = torch.from_numpy(np.eye(2)[(given["k"] == "y").astype(int)])
    found = draws.ranks(conditional.model_, x, context, 4)
    assert found.draws is None
    for column in found.values.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    x[:5, 0] = math.nan
    x[7] = 1e6
    found = draws.ranks(conditional.model_, x, context, 4)
    assert np.isnan(found.values[:5, 0]).all()
    assert (found.values[7] > 3 / 4).all()


def test_noise_and_rows_make_each_other(fitted: FlowDensity) -> None:
    test = _of_x(50)
    z = fitted.noise(test)
    back = fitted.model_.flow.transform(torch.from_numpy(z).to(fitted.model_.flow.like))[0]
    decoded = fitted.model_.encoding.decode(back).detach()
    np.testing.assert_allclose(decoded, test, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="needs complete rows"):
        FlowDensity("gaussian", steps=5, missing="marginalise").fit(test.to_numpy()).noise(
            [[math.nan, 1.0]]
        )


def test_noise_of_what_cannot_be() -> None:
    rows = np.random.default_rng(0).beta(2, 2, (80, 2))
    density = FlowDensity("gaussian", steps=20, kinds={0: (0, 1)}, random_state=0).fit(rows)
    with pytest.raises(ValueError, match=r"column 'x0' has 1\.5, which is outside its bounds"):
        density.noise([[0.5, 0.5], [1.5, 0.5]])
    x = torch.tensor([[0.5, 0.5], [1.5, 0.5], [0.4, 0.4], [math.nan, 0.1]], dtype=torch.float64)
    found = draws.radial(density.model_, x, torch.empty(4, 0))
    assert found is not None
    assert found[1] == 1
    assert np.isnan(found[3])
    found = assess(density, Frame(pd.DataFrame({"x0": [0.5, 1.5, 0.4], "x1": [0.5, 0.5, 0.6]})))
    assert (found.outside, found.log_density) == (1, -math.inf)
    assert found.worst[0].row == 1


def test_whole_numbers_are_dequantised_with_the_seed() -> None:
    rows = np.random.default_rng(0).poisson(3.0, (200, 2))
    density = FlowDensity("gaussian", steps=20, random_state=0).fit(rows)
    first, again, other = (density.noise(rows[:9], seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    # Between whole numbers nothing is asked of the density.
    assert draws.radial(density.model_, torch.from_numpy(rows[:9] + 0.0), torch.empty(9, 0)) is None


def test_scores_of_anomalies_count_rows_set_aside(fitted: FlowDensity) -> None:
    test = _of_x(20)
    scores, p_values = fitted.score_samples(test), fitted.anomaly_scores(test)
    counts = (fitted.reference_ <= scores[:, None]).sum(1)
    np.testing.assert_allclose(p_values, (1 + counts) / (1 + len(fitted.reference_)))


def test_rows_with_gaps_are_left_out_of_two_sample_tests() -> None:
    source = np.random.default_rng(0)
    rows = source.normal(size=(300, 2))
    density = FlowDensity("gaussian", steps=20, missing="marginalise", random_state=0).fit(rows)
    rows[:40, 0] = math.nan
    found = assess(density, Frame(pd.DataFrame(rows[:100], columns=["x0", "x1"])))
    assert (found.compared, found.complete) == (100, 60)
    assert found.energy is not None
    assert found.energy.rows == (60, 60)
    assert sum(found.histograms["x0"]) == 60
    assert density.two_sample(rows[:100], random_state=0).rows == (60, 60)


def test_only_some_of_many_rows_are_compared(
    fitted: FlowDensity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invflow.density.assess.COMPARED_ROWS", 30)
    found = assess(fitted, Frame(_of_x(100)))
    assert (found.rows, found.compared) == (100, 30)


def test_draws_are_functions_of_the_seed(fitted: FlowDensity) -> None:
    context = torch.empty(7, 0)
    first, again = (draws.draw(fitted.model_, context, generator("cpu", 3)) for _ in range(2))
    assert torch.equal(first, again)
