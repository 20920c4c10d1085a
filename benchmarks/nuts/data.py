"""The data of twelve models, and which of their parameters are compared on a log scale.

Six are posteriordb's, read from a folder; the others are those of well-known examples:

- rugby: scores of the Six Nations championships from 2014 to 2017 (an example of PyMC);
- radon: log radon in 919 houses of Minnesota (Gelman and Hill 2007; a file of ArviZ 0.x);
- golf: putts of professional golfers (Broadie 2018), with the third model of Gelman (2019);
- coal: disasters in British coal mines, 1851 to 1961, without two missing years (Jarrett 1979);
- volatility: 200 daily log returns of the S&P 500 (an example of PyMC);
- horseshoe: the diabetes data of scikit-learn, standardised.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Data = dict[str, Any]
HERE = Path(__file__).parent

POSTERIORDB = {
    "eight_schools_noncentered": "eight_schools-eight_schools_noncentered",
    "eight_schools_centered": "eight_schools-eight_schools_centered",
    "arK": "arK-arK",
    "kilpisjarvi": "kilpisjarvi_mod-kilpisjarvi",
    "earnings": "earnings-logearn_interaction",
    "diamonds": "diamonds-diamonds",
}
#: By model: positive parameters, which are compared by their logarithms.
LOGS: dict[str, set[str]] = {
    "eight_schools_noncentered": {"tau"},
    "eight_schools_centered": {"tau"},
    "arK": {"sigma"},
    "kilpisjarvi": {"sigma"},
    "earnings": {"sigma"},
    "diamonds": {"sigma"},
    "rugby": {"sd_attack", "sd_defence"},
    "radon": {"sigma_a", "sigma_b", "sigma"},
    "golf": {"sigma_angle", "sigma_distance", "sigma_y"},
    "coal": {"early", "late"},
    "volatility": {"step", "nu"},
    "horseshoe": {"tau", "lam", "sigma"},
}


def load(name: str, folder: Path) -> Data:
    """Return the data of a model as arrays and numbers."""
    if name in POSTERIORDB:
        found = json.loads((folder / POSTERIORDB[name] / "data.json").read_text())
        return {k: np.array(v, float) if isinstance(v, list) else v for k, v in found.items()}
    return EXAMPLES[name]()


def rugby() -> Data:
    """Return teams and scores of 60 matches."""
    with (HERE / "rugby.csv").open() as file:
        rows = list(csv.DictReader(file))
    teams = sorted({row["home_team"] for row in rows})
    return {
        "teams": len(teams),
        "home": np.array([teams.index(row["home_team"]) for row in rows]),
        "away": np.array([teams.index(row["away_team"]) for row in rows]),
        "home_score": np.array([int(row["home_score"]) for row in rows]),
        "away_score": np.array([int(row["away_score"]) for row in rows]),
    }


def radon() -> Data:
    """Return log radon, the floor and the county of each house."""
    spec = find_spec("arviz")
    if spec is None or spec.origin is None:
        raise ImportError("the radon data come with ArviZ 0.x: pip install 'arviz<1'")
    file = Path(spec.origin).parent / "data" / "example_data" / "code" / "radon" / "radon.json"
    found = json.loads(file.read_text())
    return {
        "counties": found["J"],
        "county": np.array(found["county"]),
        "floor": np.array(found["x"], float),
        "y": np.array(found["y"], float),
    }


def golf() -> Data:
    """Return distances in feet, and numbers of putts and successes."""
    rows = np.loadtxt(HERE / "golf.csv", delimiter=",", skiprows=1)
    return {
        "distance": rows[:, 0],
        "tries": rows[:, 1],
        "rate": rows[:, 2] / rows[:, 1],
        "gap": (4.25 - 1.68) / 24,  # between the radii of cup and ball, in feet
    }


def coal() -> Data:
    """Return years since 1851 and numbers of disasters."""
    text = (  # one digit for each year
        "454014340633402633545314415534252234213.21111300101100310322"
        "01110101000210001102331.211112420014000100000100101"
    )
    years = np.array([i for i, each in enumerate(text) if each != "."])
    return {
        "years": years,
        "disasters": np.array([int(text[i]) for i in years]),
        "switch": np.arange(len(text)),
    }


def volatility() -> Data:
    """Return daily log returns."""
    return {"returns": np.loadtxt(HERE / "sp500.csv")}


def horseshoe() -> Data:
    """Return standardised predictors and response."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return {"x": (x - x.mean(0)) / x.std(0), "y": (y - y.mean()) / y.std()}


EXAMPLES: dict[str, Callable[[], Data]] = {
    "rugby": rugby,
    "radon": radon,
    "golf": golf,
    "coal": coal,
    "volatility": volatility,
    "horseshoe": horseshoe,
}
NAMES = (*POSTERIORDB, *EXAMPLES)


def reference(name: str, folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return posteriordb's draws of the numbers that are compared."""
    found = np.load(folder / POSTERIORDB[name] / "reference_draws.npz")
    draws: dict[str, np.ndarray[Any, Any]] = {}
    for key in found:
        parameter, _, index = key.lower().partition("[")
        place = int(index.rstrip("]")) - 1 if index else 0
        value = found[key]
        draws[f"{parameter}[{place}]"] = np.log(value) if parameter in LOGS[name] else value
    return draws


def columns(name: str, draws: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Return the numbers that are compared, each (draws,), of parameters, (draws, *shape) each."""
    if name == "eight_schools_noncentered":
        theta = draws["mu"][:, None] + draws["tau"][:, None] * draws["t"]
        draws = {"theta": theta, "mu": draws["mu"], "tau": draws["tau"]}
    found: dict[str, Any] = {}
    for parameter, value in sorted(draws.items()):
        flat = np.asarray(value, float).reshape(len(value), -1)
        flat = np.log(flat) if parameter in LOGS[name] else flat
        found |= {f"{parameter}[{i}]": flat[:, i] for i in range(flat.shape[1])}
    return found
