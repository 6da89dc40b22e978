"""Counts the memory traffic of kernels that run in Triton's interpreter, and catches accesses that are wrong.

Programs run one after another there, so what is counted is what all programs ask for, not what caches leave over.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from triton.runtime import interpreter

SECTOR = 32
"""Bytes that device memory delivers at once."""


class _Access(NamedTuple):
    addresses: np.ndarray
    """uint64: first byte of each element."""
    itemsize: int
    program: int


@dataclass
class Traffic:
    """What one array saw."""

    tensor: Tensor
    reads: list[_Access] = field(default_factory=list)
    writes: list[_Access] = field(default_factory=list)
    atomics: list[_Access] = field(default_factory=list)

    @property
    def bytes_read(self) -> int:
        """Requested, each time it is requested; atomics read and write."""
        return _requested(self.reads) + _requested(self.atomics)

    @property
    def bytes_written(self) -> int:
        return _requested(self.writes) + _requested(self.atomics)

    @property
    def distinct_bytes_read(self) -> int:
        return len(_bytes(self.reads + self.atomics))

    @property
    def distinct_bytes_written(self) -> int:
        return len(_bytes(self.writes + self.atomics))

    @property
    def distinct_sectors_read(self) -> int:
        """Sectors of 32 bytes that the reads touch: traffic of device memory if caches kept all."""
        return len(np.unique(_bytes(self.reads + self.atomics) // SECTOR))

    @property
    def distinct_sectors_written(self) -> int:
        return len(np.unique(_bytes(self.writes + self.atomics) // SECTOR))

    @property
    def conflicts(self) -> int:
        """Bytes that two programs wrote without an atomic: the result depends on who comes last."""
        pairs = [np.unique(_bytes(group)) for group in _by_program(self.writes)]
        _, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *pairs]), return_counts=True)
        return int((counts > 1).sum())


@dataclass
class Meter:
    """Traffic by array; arrays are named as declared, others as the kernel's parameter."""

    arrays: dict[str, Traffic] = field(default_factory=dict)
    out_of_bounds: int = 0
    """Elements outside of every array; they are not carried out, a read gets the load's `other`."""

    def __getitem__(self, name: str) -> Traffic:
        return self.arrays[name]

    @property
    def bytes_read(self) -> int:
        return sum(traffic.bytes_read for traffic in self.arrays.values())

    @property
    def bytes_written(self) -> int:
        return sum(traffic.bytes_written for traffic in self.arrays.values())

    @property
    def sector_bytes(self) -> int:
        """Bytes of all distinct sectors, read and written."""
        sectors = (t.distinct_sectors_read + t.distinct_sectors_written for t in self.arrays.values())
        return SECTOR * sum(sectors)

    @property
    def conflicts(self) -> int:
        return sum(traffic.conflicts for traffic in self.arrays.values())

    def declare(self, name: str, tensor: Tensor) -> None:
        """Allows accesses to the elements of `tensor`, and only to them."""
        if tensor.numel():
            self.arrays[name] = Traffic(tensor)

    def record(self, kind: str, pointers: np.ndarray, mask: np.ndarray, itemsize: int) -> np.ndarray:
        """Notes an access and returns the mask without the elements that are out of bounds."""
        addresses, allowed = pointers.astype(np.uint64), np.zeros(pointers.shape, bool)
        program = _program()
        for traffic in self.arrays.values():
            inside = _elements(traffic.tensor, addresses) & mask
            if inside.any():
                getattr(traffic, kind).append(_Access(addresses[inside].ravel(), itemsize, program))
                allowed |= inside
        self.out_of_bounds += int((mask & ~allowed).sum())
        return allowed


@contextmanager
def meter(arrays: Mapping[str, Tensor] | None = None) -> Iterator[Meter]:
    """Meters all kernels launched inside; needs TRITON_INTERPRET=1.

    `arrays` names tensors and their legal ranges; tensors that a launch gets and that lie outside of all of those
    are declared under the name of the kernel's parameter.
    """
    measured = Meter()
    for name, tensor in (arrays or {}).items():
        measured.declare(name, tensor)
    patches = [
        (interpreter.GridExecutor, "__call__", _declaring(measured)),
        (interpreter.interpreter_builder, "create_masked_load", _loading(measured)),
        (interpreter.interpreter_builder, "create_masked_store", _storing(measured)),
        (interpreter.interpreter_builder, "create_atomic_rmw", _updating(measured)),
        (interpreter.interpreter_builder, "create_atomic_cas", _swapping(measured)),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    for owner, name, replacement in patches:
        setattr(owner, name, replacement)
    try:
        yield measured
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _declaring(measured: Meter) -> Callable[..., Any]:
    run = interpreter.GridExecutor.__call__

    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        for name, value in [*zip(self.arg_names, arguments, strict=False), *named.items()]:
            if isinstance(value, Tensor) and not any(_overlap(value, t.tensor) for t in measured.arrays.values()):
                measured.declare(name, value)
        return run(self, *arguments, **named)

    return call


def _loading(measured: Meter) -> Callable[..., Any]:
    load = interpreter.interpreter_builder.create_masked_load

    def create_masked_load(ptrs: Any, mask: Any, *rest: Any) -> Any:
        allowed = measured.record("reads", ptrs.data, _full(mask, ptrs), _itemsize(ptrs))
        return load(ptrs, interpreter.TensorHandle(allowed, mask.dtype), *rest)

    return create_masked_load


def _storing(measured: Meter) -> Callable[..., Any]:
    store = interpreter.interpreter_builder.create_masked_store

    def create_masked_store(ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
        allowed = measured.record("writes", ptrs.data, _full(mask, ptrs), _itemsize(ptrs))
        return store(ptrs, value, interpreter.TensorHandle(allowed, mask.dtype), *rest)

    return create_masked_store


def _updating(measured: Meter) -> Callable[..., Any]:
    update = interpreter.interpreter_builder.create_atomic_rmw

    def create_atomic_rmw(operation: Any, ptr: Any, value: Any, mask: Any, *rest: Any) -> Any:
        allowed = measured.record("atomics", ptr.data, _full(mask, ptr), _itemsize(ptr))
        return update(operation, ptr, value, interpreter.TensorHandle(allowed, mask.dtype), *rest)

    return create_atomic_rmw


def _swapping(measured: Meter) -> Callable[..., Any]:
    swap = interpreter.interpreter_builder.create_atomic_cas

    def create_atomic_cas(ptr: Any, *rest: Any) -> Any:
        everywhere = np.ones(ptr.data.shape, bool)
        if not measured.record("atomics", ptr.data, everywhere, _itemsize(ptr)).all():
            raise IndexError("compare-and-swap outside of every declared array")
        return swap(ptr, *rest)

    return create_atomic_cas


def _program() -> int:
    x, y, z = interpreter.interpreter_builder.grid_idx
    return (x << 42) | (y << 21) | z


def _full(mask: Any, ptrs: Any) -> np.ndarray:
    return np.broadcast_to(mask.data, ptrs.data.shape).astype(bool)


def _itemsize(ptrs: Any) -> int:
    return max(1, ptrs.get_element_ty().primitive_bitwidth // 8)


def _elements(tensor: Tensor, addresses: np.ndarray) -> np.ndarray:
    """Which addresses lie in an element of `tensor`."""
    start, size = tensor.data_ptr(), tensor.element_size()
    inside = (addresses >= start) & (addresses < start + _span(tensor))
    if tensor.is_contiguous() or not inside.any():
        return inside
    used = torch.zeros(_span(tensor) // size, dtype=torch.bool)
    used.as_strided(tensor.shape, tensor.stride()).fill_(True)
    offsets = np.where(inside, addresses - np.uint64(start), 0).astype(np.int64) // size
    return inside & used.numpy()[offsets]


def _span(tensor: Tensor) -> int:
    """Bytes from the first element to the end of the last."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size() if math.prod(tensor.shape) else 0


def _overlap(one: Tensor, other: Tensor) -> bool:
    start, begin = one.data_ptr(), other.data_ptr()
    return start < begin + _span(other) and begin < start + _span(one)


def _requested(accesses: list[_Access]) -> int:
    return sum(len(access.addresses) * access.itemsize for access in accesses)


def _bytes(accesses: list[_Access]) -> np.ndarray:
    """Addresses of all distinct bytes, sorted."""
    distinct = np.empty(0, np.uint64)
    for itemsize in {access.itemsize for access in accesses}:
        firsts = np.unique(np.concatenate([a.addresses for a in accesses if a.itemsize == itemsize]))
        expanded = (firsts[:, None] + np.arange(itemsize, dtype=np.uint64)).ravel()
        distinct = np.union1d(distinct, expanded)
    return distinct


def _by_program(accesses: list[_Access]) -> list[list[_Access]]:
    groups: dict[int, list[_Access]] = {}
    for access in accesses:
        groups.setdefault(access.program, []).append(access)
    return list(groups.values())
