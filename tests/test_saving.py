"""Models and tensors on disk: what is read stays as it was read, and nothing is believed."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from invflow import MAF, Flow, _tensors
from invflow.density import FlowDensity
from invflow.flows import Gaussian
from invflow.training import Checkpoints
from invflow.vi import Flat, Posterior
from invflow.vi.record import Record
from tests.helpers import unrecorded


def _density(directory: Path) -> Callable[[], Any]:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    FlowDensity("gaussian", steps=2, random_state=0).fit(rows).save(directory)
    found = FlowDensity.load(directory)
    return lambda: (found.reference_.sum(), found.score(rows), found.sample(2, random_state=0))


def _flow(directory: Path) -> Callable[[], Any]:
    MAF(2, transforms=1, hidden_features=(4,)).save_pretrained(directory)
    found = MAF.from_pretrained(directory)
    return lambda: found().log_prob(torch.zeros(2))


def _checkpoint(directory: Path) -> Callable[[], Any]:
    model = nn.Linear(3, 3)
    checkpoints = Checkpoints(directory)
    checkpoints.save(1, {"model": model}, {"random": torch.ones(5)})
    loaded = checkpoints.load({"model": model})
    assert loaded is not None
    return lambda: (model.weight.sum(), loaded[1]["random"].sum())


def _some_tensors(directory: Path) -> Callable[[], Any]:
    _tensors.write(directory / "a.safetensors", {"a": torch.ones(5), "b": torch.ones(0, 2)})
    found, _ = _tensors.read(directory / "a.safetensors")
    return lambda: {name: tensor.sum() for name, tensor in found.items()}


def _use(load: Callable[[Path], Callable[[], Any]], directory: Path, change: str) -> None:
    torch.set_num_threads(1)
    used = load(directory)
    before = repr(used())
    for path in directory.rglob("*.safetensors"):
        with path.open("r+b") as file:
            file.truncate(0)
            if change == "replace":
                file.write(b"\xff" * 10_000)
    assert repr(used()) == before


# A process of its own, as what is tested for ends it with SIGBUS. Forked, so that nothing is
# imported again.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("change", ["truncate", "replace"])
@pytest.mark.parametrize("load", [_density, _flow, _checkpoint, _some_tensors])
def test_what_is_loaded_outlives_the_file(
    tmp_path: Path, load: Callable[[Path], Callable[[], Any]], change: str
) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=_use, args=(load, tmp_path, change)
    )
    process.start()
    process.join()
    assert process.exitcode == 0


def test_tensors_and_the_strings_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {
        "double": torch.rand(3, 2, dtype=torch.float64),
        "flag": torch.tensor([True, False, True]),
        "half": torch.rand(5, dtype=torch.bfloat16),
        "nothing": torch.empty(0, 3),
        "scalar": torch.tensor(7),
    }
    for metadata in ({}, {"step": "3", "words": "grün"}):
        _tensors.write(path, tensors, metadata)
        found, beside = _tensors.read(path)
        assert beside == metadata
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
    content = path.read_bytes()
    for broken in (b"", content[:4], content[:40], content[:-1], b"\xff" * 64):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="is not a valid safetensors file"):
            _tensors.read(path)


def _weights(directory: Path) -> float:
    return next(Flow.from_pretrained(directory).parameters()).sum().item()


def _flow_of(value: float) -> Flow:
    flow = Gaussian(2)
    for parameter in flow.parameters():
        torch.nn.init.constant_(parameter, value)
    return flow


class KilledError(BaseException):
    """What ends a process."""


@pytest.mark.parametrize("there", ["a model", "an earlier version's", "nothing"])
@pytest.mark.parametrize("at", range(9))
def test_a_kill_at_any_moment(
    at: int, there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each of the calls that write.

    There are eight: two files made, the tensors written, the configuration written, two flushed,
    two renamed.
    """
    if there != "nothing":
        _flow_of(1.0).save_pretrained(tmp_path)
    if there == "an earlier version's":
        unrecorded(tmp_path)
    left = iter(range(at))

    def killed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(left, None) is None:
                raise KilledError
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", killed(os.open))
        patched.setattr(os, "fsync", killed(os.fsync))
        patched.setattr(safetensors.torch, "save_file", killed(safetensors.torch.save_file))
        patched.setattr(Path, "write_text", killed(Path.write_text))
        patched.setattr(Path, "replace", killed(Path.replace))
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # a kill leaves temporary files
        patched.setattr(
            _tensors, "digest", lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
        )
        if at < 8:
            with pytest.raises(KilledError):
                _flow_of(2.0).save_pretrained(tmp_path)
        else:
            _flow_of(2.0).save_pretrained(tmp_path)
    if at == 8:
        assert _weights(tmp_path) == _weights_of(2.0)
    elif at == 7:  # between the two renames
        message = "does not exist" if there == "nothing" else "were not saved together.*save again"
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            Flow.from_pretrained(tmp_path)
    elif there != "nothing":
        assert _weights(tmp_path) == _weights_of(1.0)
    else:
        with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
            Flow.from_pretrained(tmp_path)
    # Saving again mends it.
    _flow_of(3.0).save_pretrained(tmp_path)
    assert _weights(tmp_path) == _weights_of(3.0)


def _weights_of(value: float) -> float:
    return next(_flow_of(value).parameters()).sum().item()


@pytest.mark.parametrize("features", [2, 3])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_files_of_different_models(name: str, features: int, tmp_path: Path) -> None:
    """Of the same sizes, which only the sha256 tells apart, and of others."""
    _flow_of(1.0).save_pretrained(tmp_path / "a")
    Gaussian(features).save_pretrained(tmp_path / "b")
    (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(ValueError, match=f"{tmp_path}.*were not saved together: .*save again$"):
        Flow.from_pretrained(tmp_path / "a")


def test_a_posterior_is_three_files(tmp_path: Path) -> None:
    target = Flat(lambda z: -0.5 * z.square().sum(-1), dim=2)
    for name, seed in (("a", 1), ("b", 2)):
        Posterior(target, _flow_of(float(seed)), seed=seed).save(tmp_path / name)
    for name in ("posterior.json", "config.json", "model.safetensors"):
        shutil.copytree(tmp_path / "a", tmp_path / f"mixed {name}")
        shutil.copy(tmp_path / "b" / name, tmp_path / f"mixed {name}")
        with pytest.raises(ValueError, match="were not saved together"):
            Posterior.load(tmp_path / f"mixed {name}", target)
    # As earlier versions wrote it.
    path = tmp_path / "a" / "posterior.json"
    content = json.loads(path.read_text())
    content["record"] = {**Record(steps=3).to_dict(), "warnings": []}
    del content["tensors"]
    path.write_text(json.dumps(content))
    unrecorded(tmp_path / "a")
    found = Posterior.load(tmp_path / "a", target)
    assert found.record == Record(steps=3)
    assert found.seed == 1


def test_records_of_what_is_not_finite(tmp_path: Path) -> None:
    """JSON knows no NaN: a bound of a round in which no draw was finite."""
    record = Record(bounds=[(0, 200, math.nan), (1, 200, -1.5)], modes=[{"weight": 1.0}])
    target = Flat(lambda z: -0.5 * z.square().sum(-1), dim=2)
    Posterior(target, _flow_of(1.0), record=record).save(tmp_path)
    found = Posterior.load(tmp_path, target).record
    assert found is not None
    assert str(found) == str(record)


@pytest.mark.parametrize(
    "change",
    [
        {"modes": [1]},
        {"modes": [{}]},
        {"modes": [{"weight": 2}]},
        {"modes": [{"weight": 1, "starts": -1}]},
        {"modes": [{"weight": 1, "location": "x"}]},
        {"modes": [{"weight": 1, "log_evidence": "x"}]},
        {"bounds": [1]},
        {"bounds": [[0, 1]]},
        {"bounds": [[0, -1, 0.5]]},
        {"bounds": [[0, 1, "x"]]},
        {"seconds": -1.0},
        {"evaluations": True},
    ],
    ids=str,
)
def test_records_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Record.from_dict(change)


def test_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved by a relative path; moved, reached by a link, and from another directory."""
    monkeypatch.chdir(tmp_path)
    _flow_of(1.0).save_pretrained("first/model")
    Path("first").rename("second")
    Path("link").symlink_to("second/model")
    Path("other").mkdir()
    monkeypatch.chdir("other")
    assert _weights(Path("../link")) == _weights(tmp_path / "second" / "model") == _weights_of(1.0)
    _flow_of(2.0).save_pretrained("../link")
    assert Path("../link").is_symlink()
    assert _weights(tmp_path / "second" / "model") == _weights_of(2.0)


def _safetensors(header: Any, content: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + content


def _entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


EIGHT = bytes(8)
TIB = 2**40
HEADERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "too short"),
    "7 bytes": (bytes(7), "too short"),
    "length beyond the file": (_safetensors(_entry(), EIGHT, 10**6), "too short"),
    "length beyond measure": (_safetensors(_entry(), EIGHT, 2**64 - 1), "too short"),
    "length too small": (_safetensors(_entry(), EIGHT, 10), "Unterminated|Expecting"),
    "not JSON": (_safetensors(b"\x80\x04" * 20), "utf-8"),
    "not an object": (_safetensors([1, 2]), "not a JSON object"),
    "deep": (_safetensors(b"[" * 100_000), "Expecting|nested"),
    "nested": (_safetensors(b'{"a":' * 200 + b"1" + b"}" * 200), "nested more than"),
    "twice": (_safetensors(b'{"a": 1, "a": 2}'), "'a' appears twice"),
    "no entry": (_safetensors({"a": 3}), "is not described by dtype, shape and data_offsets"),
    "no offsets": (
        _safetensors({"a": {"dtype": "F32", "shape": [2]}}),
        "is not described by dtype, shape and data_offsets",
    ),
    "more": (
        _safetensors({"a": _entry()["a"] | {"b": 1}}, EIGHT),
        "is not described by dtype, shape and data_offsets",
    ),
    "dtype": (_safetensors(_entry("F31"), EIGHT), "has the unknown dtype 'F31'"),
    "dtype of another kind": (_safetensors(_entry(["F32"]), EIGHT), "unknown dtype"),
    "negative shape": (_safetensors(_entry(shape=[-2]), EIGHT), "has the shape"),
    "boolean shape": (_safetensors(_entry("F64", [True]), EIGHT), "has the shape"),
    "shape beyond measure": (
        _safetensors(_entry(shape=[0, 2**64], offsets=[0, 0])),
        "has the shape",
    ),
    "strides beyond measure": (
        _safetensors(_entry(shape=[0, 2**62, 2**62], offsets=[0, 0])),
        "has the shape",
    ),
    "one and a half TiB": (
        _safetensors(_entry(shape=[3 * TIB // 8], offsets=[0, 3 * TIB // 2]), EIGHT),
        "its tensors have 1,649,267,441,664 bytes, and 8 follow",
    ),
    "one and a half TiB in eight bytes": (
        _safetensors(_entry(shape=[3 * TIB // 8]), EIGHT),
        "of shape .* has 8 bytes",
    ),
    "backwards": (_safetensors(_entry(offsets=[8, 0]), EIGHT), "bytes"),
    "three offsets": (
        _safetensors(_entry(offsets=[0, 4, 8]), EIGHT),
        r"and the offsets \[0, 4, 8\]",
    ),
    "a gap": (
        _safetensors(_entry(offsets=[4, 12]), bytes(12)),
        "does not begin where the tensor before it ends",
    ),
    "overlap": (
        _safetensors(_entry() | {"b": _entry(offsets=[4, 12])["a"]}, bytes(12)),
        "'b' does not begin where",
    ),
    "the same place": (_safetensors(_entry() | {"b": _entry()["a"]}, EIGHT), "does not begin"),
    "more bytes": (
        _safetensors(_entry(), bytes(9)),
        "its tensors have 8 bytes, and 9 follow the header",
    ),
    "strings": (
        _safetensors({"__metadata__": {"a": 1}} | _entry(), EIGHT),
        "its metadata are not strings",
    ),
    "no strings": (
        _safetensors({"__metadata__": "a"} | _entry(), EIGHT),
        "its metadata are not strings",
    ),
    "booleans": (_safetensors(_entry("BOOL", [8]), b"\0\1\2\0\0\0\0\0"), "'a' is not boolean"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers(name: str, tmp_path: Path) -> None:
    content, message = HEADERS[name]
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path} is not a valid safetensors file: .*{message}"):
        _tensors.read(path)


def test_headers_of_other_writers(tmp_path: Path) -> None:
    """Entries in any order; spaces after them; tensors without numbers anywhere."""
    path = tmp_path / "a.safetensors"
    header = {
        "b": {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]},
        "none": {"dtype": "F32", "shape": [3, 0], "data_offsets": [8, 8]},
        **_entry(),
    }
    numbers = torch.tensor([1.5, -2.0]).numpy().tobytes() + (7).to_bytes(8, "little")
    path.write_bytes(_safetensors(json.dumps(header).encode() + b"   ", numbers))
    found, strings = _tensors.read(path)
    assert strings == {}
    assert found["a"].tolist() == [1.5, -2.0]
    assert found["b"].tolist() == [7]
    assert found["none"].shape == (3, 0)
    theirs = safetensors.torch.load_file(path)
    assert all(torch.equal(theirs[name], tensor) for name, tensor in found.items())


def test_a_sparse_file_of_the_right_length(tmp_path: Path) -> None:
    """One and a half TiB of nothing, which the header describes truly, for a small model."""
    _flow_of(1.0).save_pretrained(tmp_path)
    unrecorded(tmp_path)
    path = tmp_path / "model.safetensors"
    state = _flow_of(1.0).state_dict()
    name = next(name for name, tensor in state.items() if tensor.numel())
    header = {name: {"dtype": "F32", "shape": [3 * TIB // 8], "data_offsets": [0, 3 * TIB // 2]}}
    path.write_bytes(_safetensors(header))
    os.truncate(path, path.stat().st_size + 3 * TIB // 2)
    with pytest.raises(ValueError, match="does not fit a flow 'gaussian': "):
        Flow.from_pretrained(tmp_path)


def test_the_digest_of_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"b": torch.rand(3), "a": torch.arange(4), "c": torch.rand(2, dtype=torch.float64)}
    _tensors.write(path, tensors, {"x": "y"})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert _tensors.digest(path) == digest
    _tensors.read(path, digest)
    _tensors.write(path, tensors | {"b": torch.rand(3)}, {"x": "y"})
    with pytest.raises(ValueError, match=f"{path} and the files beside it were not saved together"):
        _tensors.read(path, digest)


def test_the_fingerprint_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    recorded = {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert _tensors.fingerprint(path) == recorded
    assert _tensors.matches(path, recorded)
    path.write_bytes(b"abd")
    for other in (recorded, None, {}, "x", {"bytes": 3}):
        assert not _tensors.matches(path, other)
    # Of another size: a sparse file of 64 GiB would take a minute to read.
    os.truncate(path, 2**36)
    monkeypatch.delattr(_tensors, "digest")
    assert not _tensors.matches(path, recorded)
