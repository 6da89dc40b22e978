"""Launches that end at the machine code: what a launcher passes is compiled for a GPU that is not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

_TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.uint8: "*u8",
}
_OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")


@contextmanager
def dry_launches(arch: int) -> Iterator[list[str]]:
    """Inside, a launch compiles its kernel and computes nothing; the names of what was compiled."""
    compiled: list[str] = []

    def run(kernel: Any, *given: Any, grid: Any, warmup: bool, **named: Any) -> None:
        options = {name: named.pop(name) for name in _OPTIONS if name in named}
        values = dict(zip(kernel.arg_names, given, strict=False)) | named
        kinds = {p.name: _kind(values[p.name], p.is_constexpr, p.do_not_specialize) for p in kernel.params}
        constants = {name: values[name] for name, kind in kinds.items() if kind == "constexpr"}
        target = GPUTarget("cuda", arch, 32)
        triton.compile(ASTSource(kernel, kinds, constants), target=target, options=options)
        compiled.append(kernel.__name__)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JITFunction, "run", run)
        yield compiled


def _kind(value: Any, constant: bool, general: bool) -> str:
    """As Triton's own launcher: None and 1 are constants unless they must not be."""
    if isinstance(value, Tensor):
        return _TYPES[value.dtype]
    if constant or value is None or (value == 1 and not general):
        return "constexpr"
    return "i32" if -(2**31) <= value < 2**31 else "i64"
