"""Several devices: two processes reach what one reaches, skip together, and end together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from invflow.training import Checkpoints, Settings, fit, launch, metrics
from tests.helpers import assert_close, fast

PROCESSES = 2
SETTINGS = Settings(
    steps=16,
    batch_size=6,
    optimizer="adam",
    learning_rate=0.05,
    schedule="constant",
    weight_decay=0.0,
    averaging_decay=0.8,
    max_gradient_norm=1.0,
    seed=3,
    evaluate_every=4,
)
ROWS = torch.randn(21, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "a": nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double(),
        "b": nn.Linear(4, 1).double(),
    }


def _loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
    loss = (model(ROWS[rows]) - ROWS[rows].sum(1, keepdim=True)).square().mean()
    last = not dist.is_initialized() or dist.get_rank() == PROCESSES - 1
    if step == 5 and last:
        return loss * float("nan")
    return loss + float("inf") if step == 7 and last else loss


def _evaluate(model: nn.Module) -> dict[str, float]:
    assert isinstance(model, nn.Sequential | nn.Linear)
    return {"loss": float((model(ROWS) - ROWS.sum(1, keepdim=True)).square().mean())}


def _train(directory: Path, devices: int) -> tuple[dict[str, nn.Module], list[int]]:
    """Train in two parts, the second one from the first one's checkpoint."""
    told: list[int] = []

    def report(step: int, line: str) -> None:
        told.append(step)

    fabric = launch(devices=devices)
    for steps in (SETTINGS.steps // 2, SETTINGS.steps):
        models = _models()
        settings = replace(SETTINGS, steps=steps)
        fit(fabric, models, len(ROWS), _loss, _evaluate, settings, directory, report)
    return models, told


def _silent(step: int, line: str) -> None:
    pass


def _noise(directory: Path) -> list[float]:
    """Return what is drawn in two steps."""
    drawn: list[float] = []

    def loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        drawn.append(float(torch.rand((), generator=noise)))
        return _loss(model, rows, step, noise)

    fabric, models = launch(devices=PROCESSES), {"b": _models()["b"]}
    settings = replace(SETTINGS, steps=2)
    fit(fabric, models, len(ROWS), loss, _evaluate, settings, directory, _silent)
    return drawn


def _refusal(directory: Path) -> str:
    """Return what is said of batches of seven."""
    fabric, settings = launch(devices=PROCESSES), replace(SETTINGS, batch_size=7)
    with pytest.raises(ValueError, match="batch_size") as caught:
        fit(fabric, _models(), len(ROWS), _loss, _evaluate, settings, directory, _silent)
    return str(caught.value)


def _work(rank: int, directory: str) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)  # There already, which is how `launch` knows.
    dist.init_process_group(
        "gloo", init_method=f"file://{directory}/meet", rank=rank, world_size=PROCESSES
    )
    try:
        models, told = _train(Path(directory, "two"), PROCESSES)
        states = {name: model.state_dict() for name, model in models.items()}
        torch.save(states, f"{directory}/{rank}.pt")
        noise, refusal = _noise(Path(directory, "noise")), _refusal(Path(directory, "refusal"))
        findings = {"told": told, "noise": noise, "refusal": refusal}
        Path(directory, f"{rank}.json").write_text(json.dumps(findings))
    finally:
        dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    mp.spawn(_work, (str(tmp_path),), nprocs=PROCESSES)
    alone, told = _train(tmp_path / "one", 1)
    findings = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(PROCESSES)]
    for rank in range(PROCESSES):
        states = torch.load(tmp_path / f"{rank}.pt")
        for name, model in alone.items():
            for key, value in model.state_dict().items():
                assert_close(states[name][key], value, 1e-10)
    curves = [metrics.read(tmp_path / name) for name in ("one", "two")]
    assert len(curves[0]) == len(curves[1]) == 2 * 2 * 4
    for one, two in zip(*curves, strict=True):
        assert one.get("skipped") == two.get("skipped")
        assert_close(two["loss"], one["loss"], 1e-10)
    assert curves[1][-2]["skipped"] == 2
    assert [each["told"] for each in findings] == [told, []]
    # No device draws what another one does.
    drawn = [number for each in findings for number in each["noise"]]
    assert len(set(drawn)) == 2 * PROCESSES
    for each in findings:
        assert each["refusal"] == (
            "batch_size must be a multiple of the number of devices, 2, got batches of 7 rows"
        )


SCRIPT = """
    import os, signal, sys, torch
    from pathlib import Path
    from torch import nn
    from invflow.training import Settings, fit, launch

    # Ignored where the tests themselves run in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    directory, raising = Path(sys.argv[1]), sys.argv[2]
    fabric = launch(devices=2)
    (directory / f"{fabric.global_rank}.pid").write_text(str(os.getpid()))
    settings = Settings(
        steps=10**9, batch_size=4, optimizer="adam", learning_rate=0.1, schedule="cosine",
        weight_decay=0.0, averaging_decay=0.0, max_gradient_norm=1.0, seed=0, evaluate_every=10,
    )

    def loss(model, rows, step, noise):
        if step == 15 and str(fabric.global_rank) in raising:
            sys.exit("no more of this")
        return model(torch.ones(len(rows), 2)).square().mean()

    fit(
        fabric, {"a": nn.Linear(2, 1)}, 8, loss, lambda model: {"loss": 1.0}, settings, directory,
        lambda step, line: None,
    )
"""


def _wait(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


def _lives(process: int) -> bool:
    """Whether a process exists, and is not a zombie that nobody has waited for."""
    status = Path(f"/proc/{process}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _run(
    directory: Path,
    end: Callable[[int, list[int]], None] = lambda group, processes: None,
    raising: str = "",
    start: tuple[str, ...] = (),
) -> tuple[int, list[str]]:
    """Train in two processes until both have ended; return the first status and what was said.

    Args:
        directory: of the run.
        end: ends processes, given their group and the processes themselves.
        raising: ranks that raise an error.
        start: what starts the script, if it does not start itself.
    """
    script = directory / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {k: v for k, v in os.environ.items() if k != "LOCAL_RANK"}
    command = [sys.executable, *start, str(script), str(directory), raising]
    pids = [directory / f"{rank}.pid" for rank in range(2)]
    log = directory / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, start_new_session=True, env=environment, stdout=file, stderr=file
        )
    try:
        _wait(lambda: any(directory.glob("checkpoints/step-*")), "training to start")
        _wait(lambda: all(pid.is_file() for pid in pids), "both processes")
        ranks = [int(pid.read_text()) for pid in pids]
        end(process.pid, ranks)
        _wait(lambda: process.poll() is not None, "the first process to end", 15)
        _wait(lambda: not any(map(_lives, ranks)), "both processes to end", 15)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    # What was there last is whole.
    Checkpoints(directory / "checkpoints").load({})
    lines = [line.removeprefix("[rank0]: ") for line in log.read_text().splitlines() if line]
    greeting = max(i for i, line in enumerate(lines) if line == 100 * "-")  # of Fabric
    return process.returncode, lines[greeting + 1 :]


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks at processes in /proc"
)


@needs_proc
@pytest.mark.parametrize("whom", fast(["all"], ["all", "first"]))
def test_an_interrupt_ends_all_processes(tmp_path: Path, whom: str) -> None:
    def interrupt(group: int, ranks: list[int]) -> None:
        if whom == "all":
            os.killpg(group, signal.SIGINT)
        else:
            os.kill(ranks[0], signal.SIGINT)

    status, lines = _run(tmp_path, interrupt)
    assert status not in (0, None)
    assert lines.count("KeyboardInterrupt") == 1  # of the first process alone


@needs_proc
@pytest.mark.slow
def test_a_killed_process_ends_the_others_with_one_line(tmp_path: Path) -> None:
    status, lines = _run(tmp_path, lambda group, ranks: os.kill(ranks[1], signal.SIGKILL))
    assert status == 1
    assert lines == [
        "invflow: process 2 of 2 was killed by signal 9; the others were stopped; the same "
        "command, without --overwrite, resumes the run"
    ]


@needs_proc
@pytest.mark.slow
def test_when_the_first_process_is_killed_the_others_end(tmp_path: Path) -> None:
    status, lines = _run(tmp_path, lambda group, ranks: os.kill(ranks[0], signal.SIGKILL))
    assert status == -signal.SIGKILL
    assert lines == [
        "invflow: process 1 of 2 ended; the others were stopped; the same command, "
        "without --overwrite, resumes the run"
    ]


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("raising", ["0", "01"])
def test_an_error_of_the_first_or_of_all_is_said_once(tmp_path: Path, raising: str) -> None:
    assert _run(tmp_path, raising=raising) == (1, ["no more of this"])


@needs_proc
@pytest.mark.slow
def test_an_error_of_another_process(tmp_path: Path) -> None:
    assert _run(tmp_path, raising="1") == (
        1,
        [
            "no more of this",
            "invflow: process 2 of 2 failed with status 1; the others were stopped; the same "
            "command, without --overwrite, resumes the run",
        ],
    )


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_under_torchrun(tmp_path: Path, rank: int) -> None:
    """It says itself which process has ended; the others say nothing, or one line."""
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    status, lines = _run(
        tmp_path, lambda group, ranks: os.kill(ranks[rank], signal.SIGKILL), start=start
    )
    assert status == 1
    assert sum("Signal 9 (SIGKILL) received" in line for line in lines) == 1
    assert not any("gloo" in line.lower() for line in lines)
