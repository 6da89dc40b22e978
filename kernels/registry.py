"""The hot ops: what every tool that goes over all of them needs."""

from collections.abc import Callable
from typing import NamedTuple

import onnx

from kernels.case import Case
from kernels.combo_id_attention import cases as combo_cases
from kernels.combo_id_attention import function as combo_function
from kernels.combo_id_attention import shipped as combo_shipped
from kernels.compile import Specialization
from kernels.consistency_pruning import cases as pruning_cases
from kernels.consistency_pruning import function as pruning_function
from kernels.consistency_pruning import shipped as pruning_shipped
from kernels.low_rank_attention import cases as low_rank_cases
from kernels.low_rank_attention import function as low_rank_function
from kernels.low_rank_attention import shipped as low_rank_shipped
from kernels.path_sampling import cases as path_cases
from kernels.path_sampling import function as path_function
from kernels.path_sampling import kernel as path_kernel


class HotOp(NamedTuple):
    """One op's faces."""

    name: str
    specializations: Callable[[], list[Specialization]]
    """All shipped kernels; not under the interpreter."""
    functions: dict[str, Callable[[], onnx.FunctionProto]]
    """ONNX node -> its function."""
    cases: Callable[[], list[Case]]


OPS: tuple[HotOp, ...] = (
    HotOp(
        "low_rank_attention",
        low_rank_shipped.specializations,
        low_rank_function.FUNCTIONS,
        low_rank_cases.cases,
    ),
    HotOp(
        "combo_id_attention",
        combo_shipped.specializations,
        combo_function.FUNCTIONS,
        combo_cases.cases,
    ),
    HotOp(
        "path_sampling",
        path_kernel.specializations,
        path_function.FUNCTIONS,
        path_cases.cases,
    ),
    HotOp(
        "consistency_pruning",
        pruning_shipped.specializations,
        pruning_function.FUNCTIONS,
        pruning_cases.cases,
    ),
)
