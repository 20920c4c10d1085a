"""Infers how fast an outbreak spread, and how many cases were reported, from simulations alone.

An epidemic in a closed population is simulated week by week, and some of the new cases are
reported. There is no likelihood to write down. Prints a table of the parameters, and
draws the posterior of an outbreak whose parameters are known.

    python examples/outbreak.py [--simulations 2000] [--steps 3000] [--out outbreak.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch.distributions import Uniform

from invflow import simulation

PEOPLE, WEEKS = 1000, 12
PRIOR = simulation.Prior(
    {"contacts": Uniform(0.5, 4.0), "recovery": Uniform(0.3, 1.0), "reported": Uniform(0.1, 1.0)}
)
TRUTH = {"contacts": 1.8, "recovery": 0.6, "reported": 0.4}


def outbreak(parameters: dict[str, Any], random: np.random.Generator) -> list[int]:
    """Return the number of reported cases of each week."""
    susceptible, infected, cases = PEOPLE - 5, 5, list[int]()
    for _ in range(WEEKS):
        risk = 1 - np.exp(-parameters["contacts"] * infected / PEOPLE)
        new = random.binomial(susceptible, risk)
        recovered = random.binomial(infected, parameters["recovery"])
        susceptible, infected = susceptible - new, infected + new - recovered
        cases += [random.binomial(new, parameters["reported"])]
    return cases


def main() -> None:
    """Simulate, learn, judge; print a table and draw the posterior."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--simulations", type=int, default=2000, help="number of simulations")
    parser.add_argument("--steps", type=int, default=3000, help="largest number of updates")
    parser.add_argument("--out", type=Path, default=Path("outbreak.png"), help="the picture")
    options = parser.parse_args()
    simulations = simulation.simulate(outbreak, PRIOR, options.simulations, seed=0)
    settings = simulation.Settings(steps=options.steps)
    estimator = simulation.fit(simulations, PRIOR, settings=settings)
    assert isinstance(estimator, simulation.NPE)
    observed = outbreak(TRUTH, np.random.default_rng(7))
    posterior = estimator.posterior(observed)
    found = estimator.assess(simulation.simulate(outbreak, PRIOR, 400, seed=1))
    draws = posterior.to_pandas(4000)
    print("| parameter | truth | mean | sd | central 94% |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in posterior.summary().iterrows():
        interval = f"{row['3%']:.2f} to {row['97%']:.2f}"
        print(f"| {name} | {TRUTH[str(name)]} | {row['mean']:.2f} | {row['sd']:.2f} | {interval} |")
    covered, error = found.coverage[0.9], found.coverage_error[0.9]
    print(
        f"\nReported cases by week: {', '.join(map(str, observed))}. Regions of 90% contain the "
        f"parameters of {covered:.1%} ± {error:.1%} of other outbreaks. Picture: {options.out}"
    )
    figure = Figure(figsize=(8, 3))
    axes = figure.subplots(1, 2)
    for axis, other in zip(axes, ("recovery", "reported"), strict=True):
        axis.plot(draws["contacts"], draws[other], ".", ms=2, alpha=0.3)
        axis.plot(TRUTH["contacts"], TRUTH[other], "k+", ms=12, mew=2)
        axis.set(xlabel="contacts per week", ylabel=other)
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
