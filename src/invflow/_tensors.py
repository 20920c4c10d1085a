"""Tensors on disk, as safetensors files: sizes are known, and believed, before memory is taken.

A file begins with the length of its header, 8 bytes, and the header: a JSON object with the dtype,
the shape and the place of each tensor. The numbers follow, without gaps.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, cast

import safetensors.torch
import torch
from torch import Tensor

from invflow import _files, _json, _readable

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
#: Number of bytes that a header may have; safetensors has the same limit.
LONGEST = 10**8


class Header(NamedTuple):
    """What the header of a file says.

    Attributes:
        sizes: the tensors by name, in the order of the file, on the meta device: without numbers.
        strings: the strings beside them.
        bytes: number of bytes of the whole file.
    """

    sizes: dict[str, Tensor]
    strings: dict[str, str]
    bytes: int


def write(
    path: Path, tensors: Mapping[str, Tensor], strings: Mapping[str, str] | None = None
) -> None:
    """Write tensors, and strings beside them, into a file that appears whole or not at all.

    Raises:
        OSError: if the disk or the memory is full, or the file cannot be written.
    """
    with _files.replacing(path) as temporary:
        write_directly(temporary, tensors, strings)


def write_directly(
    path: Path, tensors: Mapping[str, Tensor], strings: Mapping[str, str] | None = None
) -> None:
    """Write tensors, and strings beside them, into a file."""
    with _readable.memory_for(path):
        # Clones, because safetensors refuses tensors that share memory.
        whole = {k: tensor.detach().cpu().contiguous().clone() for k, tensor in tensors.items()}
    try:
        safetensors.torch.save_file(whole, path, dict(strings or {}))
    except safetensors.SafetensorError as error:  # a full disk, among others
        raise OSError(str(error)) from error


def header(path: Path) -> Header:
    """Return what the header of a file says, which agrees with the size of the file.

    Raises:
        FileNotFoundError: if it does not exist.
        OSError: if it cannot be read.
        ValueError: if it is truncated, damaged or of another kind.
    """
    with _readable.opened(path) as file:
        return _header(path, file)[1]


def read(path: Path, sha256: str | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file, and the strings beside them.

    Args:
        path: of the file.
        sha256: its digest, as `digest` gives it; None to take it as it is.

    Raises:
        FileNotFoundError: if it does not exist.
        OSError: if it cannot be read, or does not fit into memory.
        ValueError: if it is truncated, damaged or of another kind, or has another digest.
    """
    # Into memory: tensors that map the file would change, or end the process, with it.
    with _readable.opened(path) as file, _readable.memory_for(path):
        content, found = _header(path, file)
        hashed = hashlib.sha256(content)
        tensors: dict[str, Tensor] = {}
        for name, size in found.sizes.items():
            tensor = tensors[name] = torch.empty(size.shape, dtype=size.dtype, device="cpu")
            numbers = as_bytes(tensor)
            if file.readinto(numbers) != len(numbers):  # it has been truncated in the meantime
                raise ValueError(f"{path} is not a valid safetensors file: it is too short")
            hashed.update(numbers)
            if size.dtype is torch.bool and bool((tensor.view(torch.uint8) > 1).any()):
                raise ValueError(f"{path} is not a valid safetensors file: {name!r} is not boolean")
    check_together(path, sha256, hashed.hexdigest())
    return tensors, found.strings


def digest_of(tensors: Mapping[str, Tensor], strings: Mapping[str, str]) -> str:
    """Return the sha256 of tensors and strings by name, in hexadecimal."""
    hashed = hashlib.sha256(json.dumps(dict(strings), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(as_bytes(tensor))
    return hashed.hexdigest()


def digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal.

    Raises:
        FileNotFoundError: if it does not exist.
        OSError: if it cannot be read.
        ValueError: if it is not a regular file.
    """
    with _readable.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> dict[str, Any]:
    """Return the size and the sha256 of a file, as JSON.

    Raises:
        FileNotFoundError: if it does not exist.
        OSError: if it cannot be read.
        ValueError: if it is not a regular file.
    """
    return {"sha256": digest(path), "bytes": path.stat().st_size}


def matches(path: Path, recorded: Any) -> bool:
    """Return whether a file has a fingerprint. Its size is compared before all of it is read.

    Raises:
        FileNotFoundError: if it does not exist.
        OSError: if it cannot be read.
        ValueError: if it is not a regular file.
    """
    with _readable.opened(path) as file:
        size = os.fstat(file.fileno()).st_size
    return (
        isinstance(recorded, dict)
        and cast(dict[str, Any], recorded).get("bytes") == size
        and recorded == fingerprint(path)
    )


def check_together(path: Path, recorded: Any, found: Any) -> None:
    """Check what another file records of a file; nothing, None, was recorded by earlier versions.

    Raises:
        ValueError: if it differs.
    """
    if recorded not in (None, found):
        raise ValueError(
            f"{path} and the files beside it were not saved together: one was replaced, or a save "
            "was interrupted; save again"
        )


def as_bytes(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on the CPU, to read from or to write into."""
    return memoryview(cast(Any, tensor.reshape(-1).view(torch.uint8).numpy()))


def _header(path: Path, file: BufferedReader) -> tuple[bytes, Header]:
    size = os.fstat(file.fileno()).st_size
    try:
        first = file.read(8)
        length = int.from_bytes(first, "little")
        if len(first) < 8 or length > size - 8:
            raise ValueError("it is too short")
        if length > LONGEST:
            raise ValueError(f"its header has {length:,} bytes")
        text = file.read(length)
        entries: Any = _json.parsed(text)
        if not isinstance(entries, dict):
            raise ValueError("its header is not a JSON object")
        strings: Any = entries.pop("__metadata__", {})
        if not isinstance(strings, dict) or not all(map(_is_text, cast(Any, strings).values())):
            raise ValueError("its metadata are not strings")
        sizes = _sizes(cast(dict[str, Any], entries), size - 8 - length)
    except ValueError as error:
        raise ValueError(f"{path} is not a valid safetensors file: {error}") from error
    return first + text, Header(sizes, cast(dict[str, str], strings), size)


def _sizes(entries: dict[str, Any], room: int) -> dict[str, Tensor]:
    """Return the tensors that entries describe, which fill the room after the header."""
    described = {name: _described(name, entry) for name, entry in entries.items()}
    ordered = sorted(described.items(), key=lambda item: item[1][1:])
    end = 0
    for name, (_, first, last) in ordered:
        if first != end:
            raise ValueError(f"{name!r} does not begin where the tensor before it ends")
        end = last
    if end != room:
        raise ValueError(f"its tensors have {end:,} bytes, and {room:,} follow the header")
    return {name: tensor for name, (tensor, _, _) in ordered}


def _described(name: str, entry: Any) -> tuple[Tensor, int, int]:
    """Return a tensor without numbers, and the bytes between which its numbers are."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = (cast(Any, entry[key]) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name!r} has the unknown dtype {dtype!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{name!r} has the shape {shape!r} and the offsets {offsets!r}")
    first, last = offsets
    if last - first != prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"{name!r} of shape {shape} and dtype {dtype} has {last - first:,} bytes")
    try:
        return torch.empty(shape, dtype=DTYPES[dtype], device="meta"), first, last
    except RuntimeError as error:
        raise ValueError(f"{name!r} has the shape {shape}") from error


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, int) and not isinstance(each, bool) and 0 <= each < 2**63
        for each in cast(list[Any], value)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
