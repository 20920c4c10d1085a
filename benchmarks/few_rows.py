"""A few thousand rows of UCI tables: `FlowDensity` at its defaults beside zuko's flows.

Each seed draws 2,000 rows to learn from and 1,000 to test on. All columns are declared continuous,
so that both have densities in the same units: nats per row of the standardised table. zuko's flows
have its defaults, with Adam at 1e-3 on batches of 256. They keep the weights that are best on a
tenth of the rows, and stop after 3,000 updates, or after ten evaluations, one every 50 updates,
without improvement.

    python benchmarks/few_rows.py FILE.npz ... [--seeds 0 1 2] [--tools invflow zuko-maf zuko-nsf]

prints a line for each table, tool and seed: the mean log-likelihood of the test rows, the mean
without the worst hundredth, the worst row, and seconds of processor time. One thread. Needs zuko.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from density import trimmed

LEARNED, TESTED = 2000, 1000
BATCH, STEPS, EVERY, PATIENCE = 256, 3000, 50, 10
#: Columns with at most this many values are left out, and those with a larger correlation with an
#: earlier one: some of them are constant, or copies, in some samples.
FEWEST_VALUES, COPY = 3, 1 - 1e-6
#: From rows to learn from, rows to test on and a seed, the log density of the latter.
Tool = Callable[[Tensor, Tensor, int], Tensor]


def invflow(train: Tensor, test: Tensor, seed: int) -> Tensor:
    """Return the log density of test rows by `FlowDensity`."""
    from invflow.density import FlowDensity

    kinds = dict.fromkeys(range(train.shape[1]), "continuous")
    density = FlowDensity(kinds=kinds, random_state=seed).fit(train.numpy())
    return torch.from_numpy(density.score_samples(test.numpy()))


def _zuko(name: str) -> Tool:
    def score(train: Tensor, test: Tensor, seed: int) -> Tensor:
        import zuko.flows

        torch.manual_seed(seed)
        flow = getattr(zuko.flows, name)(train.shape[1])
        held = len(train) // 10
        validation, rows = train[:held], train[held:]
        optimizer = torch.optim.Adam(flow.parameters(), 1e-3)
        best, state, stale = -np.inf, flow.state_dict(), 0
        for step in range(1, STEPS + 1):
            optimizer.zero_grad()
            batch = rows[torch.randint(len(rows), (BATCH,))]
            loss = -flow().log_prob(batch).mean()
            loss.backward()
            optimizer.step()
            if step % EVERY == 0:
                with torch.no_grad():
                    value = float(flow().log_prob(validation).mean())
                stale = 0 if value > best else stale + 1
                if value > best:
                    best, state = value, copy.deepcopy(flow.state_dict())
                if stale == PATIENCE:
                    break
        flow.load_state_dict(state)
        with torch.no_grad():
            return flow().log_prob(test).double()

    return score


TOOLS: dict[str, Tool] = {
    "invflow": invflow,
    "zuko-maf": _zuko("MAF"),
    "zuko-nsf": _zuko("NSF"),
}


def parts(path: Path, seed: int) -> tuple[Tensor, Tensor]:
    """Return standardised rows to learn from and to test on."""
    rows = np.load(path)["data"].astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(rows))[: LEARNED + TESTED]
    train, test = np.split(rows[order], [LEARNED])
    varied = [len(np.unique(column)) > FEWEST_VALUES for column in train.T]
    train, test = train[:, varied], test[:, varied]
    copies = np.triu(np.abs(np.corrcoef(train.T)) > COPY, 1).any(0)
    train, test = train[:, ~copies], test[:, ~copies]
    mean, scale = train.mean(0), train.std(0)
    standard = [((part - mean) / scale).astype(np.float32) for part in (train, test)]
    return torch.from_numpy(standard[0]), torch.from_numpy(standard[1])


def main() -> None:
    """Measure, and print a line for each table, tool and seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    options: Any = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for seed in options.seeds:
        for path in options.files:
            train, test = parts(path, seed)
            for tool in options.tools:
                begin = time.process_time()
                scores = TOOLS[tool](train, test, seed)
                seconds = time.process_time() - begin
                figures = float(scores.mean()), trimmed(scores), float(scores.min())
                shown = " ".join(f"{figure:.2f}" for figure in figures)
                print(path.stem, tool, seed, shown, f"{seconds:.0f}", flush=True)


if __name__ == "__main__":
    main()
