"""Distillation: how close an IAF gets to a MAF, and how much faster it samples.

For each number of features a MAF is trained by maximum likelihood on rows of a nonlinear
autoregression, and an IAF is distilled from it, by KL(student || teacher) alone. Then:

- KL in both directions, from new draws, in nats with standard errors, and the effective sample
  fraction of the importance weights; also for the initial student, which has the teacher's mean and
  covariance;
- the p-value of an energy test with 2,000 draws of each, and its effect: the energy distance
  divided by its largest possible value;
- seconds per draw of the teacher divided by those of the student, alternating in batches of 256:
  for the teacher with the cached inverse, and with one network pass per feature, as in other
  libraries.

    python benchmarks/distillation.py [--quick] [--features 8,64,784] [--threads N]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import torch
from directions import environment, table
from torch import Tensor

from invflow import MAF, Flow
from invflow.density.checks.two_sample import two_sample
from invflow.distillation import Closeness, closeness, distill


@dataclass(frozen=True)
class Size:
    """A model's size, and its budget: updates of teacher and student, draws to measure by."""

    width: int
    transforms: int
    batch: int
    teacher_steps: int
    student_steps: int
    count: int


FULL = {
    8: Size(64, 3, 256, 3000, 5000, 20_000),
    64: Size(256, 3, 256, 3000, 5000, 10_000),
    784: Size(1024, 2, 128, 2000, 3000, 5000),
}
QUICK = {
    8: Size(64, 2, 128, 200, 200, 2000),
    64: Size(64, 2, 64, 100, 100, 1000),
    784: Size(128, 1, 32, 150, 40, 500),
}
HEADER = [
    "D",
    "student",
    "KL(student || teacher)",
    "KL(teacher || student)",
    "effective",
    "energy test: p, effect",
    "teacher / student, cached inverse",
    "teacher / student, D passes",
    "training",
]


def rows(count: int, features: int, generator: torch.Generator) -> Tensor:
    """Return rows of a nonlinear autoregression, (count, features)."""
    noise = torch.randn(count, features, generator=generator)
    columns = [noise[:, 0]]
    for i in range(1, features):
        last = columns[-1]
        columns.append(torch.sin(last) + (0.4 + 0.4 * torch.sigmoid(2 * last)) * noise[:, i])
    return torch.stack(columns, 1)


def maf(features: int, size: Size, inverse: str = "auto") -> Flow:
    """Return a MAF with the same weights every time."""
    return MAF(
        features,
        0,
        size.transforms,
        (size.width, size.width),
        inverse=inverse,
        generator=torch.Generator().manual_seed(0),
    )


def taught(features: int, size: Size) -> Flow:
    """Return a MAF trained on rows that never repeat."""
    flow = maf(features, size)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, size.teacher_steps)
    generator = torch.Generator().manual_seed(1)
    for _ in range(size.teacher_steps):
        loss = -flow().log_prob(rows(size.batch, features, generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 50.0)
        optimizer.step()
        schedule.step()
    return flow


def energy(found: Closeness) -> str:
    """Return what the energy test says of draws of both."""
    assert found.teacher is not None
    student, teacher = (each.x[:2000].numpy() for each in (found.student, found.teacher))
    test = two_sample(student, teacher)
    return f"{test.p_value:.2g}, {test.effect:.2g}"


def line(
    features: int, name: str, found: Closeness, slow: float | None, seconds: float
) -> list[str]:
    """Return a line of the table."""
    return [
        str(features),
        name,
        f"{found.reverse:.3f} ± {found.reverse_error:.3f}",
        f"{found.forward:.3f} ± {found.forward_error:.3f}",
        f"{100 * found.effective:.2g} %",
        energy(found),
        f"{found.speedup:.3g}",
        "" if slow is None else f"{slow:.3g}",
        f"{seconds:.0f} s",
    ]


def measure(features: int, size: Size) -> list[list[str]]:
    """Train a teacher and a student, and return the lines of both the start and the end."""
    teacher = taught(features, size)
    student = {"name": "iaf", "transforms": size.transforms, "hidden_features": [size.width] * 2}
    options = {"batch_size": size.batch, "pool": max(2000, 5 * features)}
    start = time.perf_counter()
    first = distill(teacher, student, steps=1, learning_rate=1e-9, **options)
    begin = time.perf_counter()
    last = distill(teacher, student, steps=size.student_steps, **options)
    seconds = time.perf_counter() - begin
    at_first = closeness(teacher, first, count=size.count)
    at_last = closeness(teacher, last, count=size.count)
    # The slow teacher is only needed for the time of its draws.
    slow = maf(features, size, inverse="passes")
    slow.load_state_dict(teacher.state_dict())
    passes = closeness(slow, last, count=2).speedup
    return [
        line(features, "start", at_first, None, begin - start),
        line(features, "end", at_last, passes, seconds),
    ]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small models, few updates")
    parser.add_argument("--features", default="8,64,784", help="some of 8,64,784")
    parser.add_argument(
        "--threads", type=int, default=2, help="number of PyTorch threads (default: 2)"
    )
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    try:
        chosen = {int(text): sizes[int(text)] for text in options.features.split(",")}
    except (ValueError, KeyError):
        parser.error(f"--features: expected some of 8,64,784, got {options.features!r}")
    torch.set_num_threads(options.threads)
    about = environment(options.threads)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    lines: list[list[str]] = []
    for features, size in chosen.items():
        print(f"measuring D = {features}: {size} ...", file=sys.stderr)
        lines += measure(features, size)
    print("\n" + table(HEADER, lines))


if __name__ == "__main__":
    main(sys.argv[1:])
