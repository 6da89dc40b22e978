"""The meter counts what kernels do and catches what they must not do."""

from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.meter import meter


@triton.jit
def shifted_copy_kernel(source_ptr, target_ptr, size, SHIFT: tl.constexpr, STEP: tl.constexpr):  # noqa: N803
    """Copies 16 elements per program; SHIFT moves the reads, STEP the writes of neighbours."""
    program = tl.program_id(0).to(tl.int64)
    at = program * 16 + tl.arange(0, 16)
    value = tl.load(source_ptr + at + SHIFT, mask=at < size, other=0.0)
    tl.store(target_ptr + program * STEP + tl.arange(0, 16), value, mask=at < size)


@triton.jit
def counting_kernel(counter_ptr):
    """All programs add to one cell."""
    tl.atomic_add(counter_ptr, 1)


def run(programs: int, source: Tensor, target: Tensor, shift: int, step: int) -> None:
    kernel: Any = shifted_copy_kernel
    kernel[(programs,)](source, target, source.numel(), SHIFT=shift, STEP=step)


def copy(size: int, shift: int = 0, step: int = 16) -> tuple[Tensor, Tensor]:
    source = torch.arange(size, dtype=torch.float32)
    target = torch.empty(size, dtype=torch.float32)
    run(-(-size // 16), source, target, shift, step)
    return source, target


def test_every_byte_and_sector_of_a_copy_is_counted_once() -> None:
    with meter() as measured:
        source, target = copy(40)
    assert torch.equal(source, target)
    assert measured["source_ptr"].bytes_read == measured["source_ptr"].distinct_bytes_read == 160
    assert measured["target_ptr"].bytes_written == 160
    assert measured["target_ptr"].bytes_read == 0
    assert measured["source_ptr"].distinct_sectors_read in (5, 6)
    assert (measured.out_of_bounds, measured.conflicts) == (0, 0)


def test_reads_beyond_the_end_are_caught() -> None:
    with meter() as measured:
        copy(64, shift=28)
    assert measured.out_of_bounds == 28


def test_writes_of_one_address_by_two_programs_are_caught() -> None:
    with meter() as measured:
        copy(32, step=8)
    assert measured.conflicts == 8 * 4


def test_writes_beyond_a_declared_array_are_caught_and_not_carried_out() -> None:
    storage = torch.zeros(32)
    with meter({"target": storage[:20]}) as measured:
        run(2, torch.ones(32), storage, shift=0, step=16)
    assert measured.out_of_bounds == 12
    assert storage.sum() == 20


def test_the_gaps_of_a_strided_array_are_out_of_bounds() -> None:
    storage = torch.zeros(16)
    with meter({"target": storage[::2]}) as measured:
        run(1, torch.ones(16), storage, shift=0, step=16)
    assert measured.out_of_bounds == 8
    assert storage[1::2].sum() == 0


def test_atomics_count_as_read_and_write_but_not_as_conflict() -> None:
    counter = torch.zeros(1, dtype=torch.int32)
    with meter({"counter": counter}) as measured:
        counting_kernel[(5,)](counter)
    assert counter.item() == 5
    assert measured.bytes_read == measured.bytes_written == 20
    assert measured.conflicts == 0


def test_after_the_meter_nothing_is_counted() -> None:
    with meter() as measured:
        copy(16)
    before = measured.bytes_read
    copy(16)
    assert measured.bytes_read == before


def test_an_output_starts_poisoned_and_its_guards_are_checked(poisoned: list[Tensor]) -> None:
    output = torch.empty(3, 2)
    assert output.shape == (3, 2)
    assert output.isnan().all()
    poisoned[-1][-1] = 0
    with pytest.raises(AssertionError):
        assert poisoned[-1][-1].isnan()
    poisoned.clear()
