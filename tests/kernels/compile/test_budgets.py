"""Every shipped kernel compiles for three architectures, keeps its budget, and is what the manifest says."""

from typing import Any

import pytest
import triton
import triton.language as tl

from kernels.budgets import budget_of, digests, excess, read_budgets, read_manifest
from kernels.compile import ARCHITECTURES, Specialization, compile_one, divisible_by_16, toolchain
from kernels.registry import OPS
from kernels.releases import RELEASES

SPECIALIZATIONS = {spec.key: spec for op in OPS for spec in op.specializations()}
REMEDY = "run `make budgets` and read the difference"


@triton.jit
def hoarding_kernel(source_ptr, target_ptr, WIDTH: tl.constexpr):  # noqa: N803 - a constexpr
    """Needs all elements again after their sum is known: more than one warp's registers hold."""
    at = tl.arange(0, WIDTH)
    held = tl.load(source_ptr + at)
    tl.store(target_ptr + at, held / tl.sum(held * held))


@triton.jit
def copy_kernel(source_ptr, target_ptr, BLOCK: tl.constexpr):  # noqa: N803 - a constexpr
    """Four elements a thread, which one vector load can carry."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(target_ptr + at, tl.load(source_ptr + at))


def spec_of(fn: Any, constexprs: dict[str, int], *, num_warps: int = 4, aligned: bool = True) -> Specialization:
    pointers = {name: "*fp32" for name in fn.arg_names if name.endswith("_ptr")}
    attrs = divisible_by_16(fn, list(pointers)) if aligned else {}
    return Specialization(
        "control",
        fn.__name__,
        90,
        fn,
        pointers | dict.fromkeys(constexprs, "constexpr"),
        constexprs,
        attrs,
        num_warps,
        1,
    )


@pytest.mark.parametrize("key", SPECIALIZATIONS)
def test_the_kernel_keeps_its_budget(key: str) -> None:
    compiled = compile_one(SPECIALIZATIONS[key])
    budgets, manifest = read_budgets(triton.__version__), read_manifest(triton.__version__)
    assert key in budgets, f"no budget: {REMEDY}"
    assert excess(compiled, budgets[key]) == []
    if manifest["toolchain"] == toolchain():
        assert digests(compiled) == manifest["kernels"][key], f"other code than recorded: {REMEDY}"


def test_every_configuration_is_compiled_for_all_architectures_and_no_budget_is_left_over() -> None:
    for release in RELEASES:
        assert set(read_budgets(release)) == set(SPECIALIZATIONS) == set(read_manifest(release)["kernels"])
    for op in OPS:
        configs: dict[str, set[int]] = {}
        for spec in op.specializations():
            configs.setdefault(spec.config, set()).add(spec.arch)
        assert all(found == set(ARCHITECTURES) for found in configs.values()), configs


def test_a_kernel_that_spills_breaks_every_budget() -> None:
    compiled = compile_one(spec_of(hoarding_kernel, {"WIDTH": 16384}, num_warps=1))
    words = " ".join(excess(compiled, budget_of(compiled)))
    assert compiled.local_loads > 0
    assert "bytes of stack" in words
    assert "local loads" in words


def test_a_kernel_without_alignment_loses_its_vector_loads_and_breaks_its_budget() -> None:
    aligned = compile_one(spec_of(copy_kernel, {"BLOCK": 512}))
    unaligned = compile_one(spec_of(copy_kernel, {"BLOCK": 512}, aligned=False))
    assert aligned.vector_loads == 1
    assert unaligned.vector_loads == 0
    assert excess(aligned, budget_of(aligned)) == []
    assert any("vector loads" in line for line in excess(unaligned, budget_of(aligned)))
