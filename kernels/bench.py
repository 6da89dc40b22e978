"""Times the hot ops: on a GPU against PyTorch and a copy of as many bytes, on a CPU against ONNX Runtime.

No number without a correct answer: each case is compared with its fp64 reference first. Inputs rotate, so that a
call does not find the last call's in the cache.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from random import Random
from statistics import median

import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from kernels.case import Arguments, Case, Outputs
from kernels.functions import attach
from kernels.gpu_clock import captured_us, copy_of, median_us
from kernels.quiet import quiet_exporter
from kernels.registry import OPS

_ROTATION = 4
_REPEATS = 200
_WARM_UP = 20


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Medians in microseconds; None where a competitor is not there, all None where the answer is wrong."""

    op: str
    case: str
    config: str
    gap: float
    """Worst |op - reference| / max(1, |reference|)."""
    ok: bool
    op_us: float | None = None
    eager_us: float | None = None
    """The batched form in plain PyTorch."""
    compiled_us: float | None = None
    """The batched form under torch.compile; GPU only."""
    onnx_us: float | None = None
    """ONNX Runtime on the function body, on the same device."""
    copy_us: float | None = None
    """A copy that moves as many bytes as the case cannot do without; GPU only."""
    captured_us: float | None = None
    """The op inside a CUDA graph: its kernels without their launches from Python; GPU only."""


def bench(device: str, name: str | None = None, report: Callable[[Timing], None] = lambda timing: None) -> list[Timing]:
    """Times all cases, or those of one op, on "cuda"; the requests of 1,000 candidates on "cpu", with one thread.

    Raises ValueError for an unknown op or device, and where there is no GPU.
    """
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu' or 'cuda', not '{device}'")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device here; --device cpu compares the CPU implementations with ONNX Runtime")
    if name is not None and name not in {op.name for op in OPS}:
        raise ValueError(f"op must be one of {[op.name for op in OPS]}, not '{name}'")
    timings = []
    for op in OPS:
        for case in op.cases() if name in (None, op.name) else []:
            if device == "cuda" or case.name == "request":
                timing = time_case(op.name, case, device, worst_gap(case, device))
                timings.append(add_compiled(add_captured(timing, case), case) if device == "cuda" else timing)
                report(timings[-1])
    return timings


def worst_gap(case: Case, device: str, seed: int = 0) -> float:
    """Largest |op - reference| / max(1, |reference|) over all outputs; infinite where NaN, types or sizes differ."""
    arguments = case.inputs(seed)
    exact = [x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in arguments]
    actual, expected = _tensors(case.op(*_moved(arguments, device))), _tensors(case.reference(*exact))
    return max(_gap(one.cpu(), other) for one, other in zip(actual, expected, strict=True))


def time_case(op: str, case: Case, device: str, gap: float) -> Timing:
    """Times the op of a case whose answers were `gap` away from the reference, and all but compiled competitors."""
    if not gap <= case.tolerance:
        return Timing(op=op, case=case.name, config=case.config, gap=gap, ok=False)
    inputs = _rotating(case, device)
    competitors: dict[str, Callable[..., object]] = {"op_us": case.op}
    if case.batched is not None:
        competitors["eager_us"] = case.batched
    if device == "cuda":
        competitors["copy_us"] = copy_of(case.work.read + case.work.written)
    if run := _onnx_runner(case, inputs[0], device):
        competitors["onnx_us"] = run
    with torch.inference_mode(), _one_thread():
        medians = _gpu_times(competitors, inputs) if device == "cuda" else _cpu_times(competitors, inputs)
    return Timing(op=op, case=case.name, config=case.config, gap=gap, ok=True, **medians)


def add_captured(timing: Timing, case: Case) -> Timing:
    """The same with the time inside a CUDA graph."""
    if not timing.ok:
        return timing
    with torch.inference_mode():
        return replace(timing, captured_us=captured_us(case.op, _rotating(case, "cuda")))


def add_compiled(timing: Timing, case: Case) -> Timing:
    """The same with the time of torch.compile."""
    if not timing.ok:
        return timing
    with torch.inference_mode():
        compiled = torch.compile(case.batched or case.reference)
        return replace(timing, compiled_us=median_us(compiled, _rotating(case, "cuda")))


def _rotating(case: Case, device: str) -> list[Arguments]:
    return [_moved(case.inputs(seed), device) for seed in range(_ROTATION)]


class _one_thread:  # noqa: N801 - a context manager
    """PyTorch computes with one thread inside, as one instance of a served model does."""

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.before)


def _cpu_times(competitors: dict[str, Callable[..., object]], inputs: list[Arguments]) -> dict[str, float]:
    """Competitors take turns in random order: what else the machine does, and an input's first touch, meet all."""
    times: dict[str, list[float]] = {name: [] for name in competitors}
    turns, order = list(competitors.items()), Random(0)  # noqa: S311 - no secret
    for number in range(_WARM_UP + _REPEATS):
        order.shuffle(turns)
        for name, run in turns:
            started = time.perf_counter()
            run(*inputs[number % _ROTATION])
            times[name].append(1e6 * (time.perf_counter() - started))
    return {name: median(taken[_WARM_UP:]) for name, taken in times.items()}


def _gpu_times(competitors: dict[str, Callable[..., object]], inputs: list[Arguments]) -> dict[str, float]:
    return {name: median_us(run, inputs) for name, run in competitors.items()}


class _Graph(nn.Module):
    """A case's op as a module whose inputs are the arguments that are tensors."""

    def __init__(self, case: Case, arguments: Arguments) -> None:
        super().__init__()
        self.op = case.op
        self.constants = [None if isinstance(x, Tensor) else x for x in arguments]
        self.given = [isinstance(x, Tensor) for x in arguments]

    def forward(self, *tensors: Tensor) -> Outputs:
        rest = iter(tensors)
        pairs = zip(self.given, self.constants, strict=True)
        return self.op(*(next(rest) if given else constant for given, constant in pairs))


def onnx_model(case: Case) -> onnx.ModelProto:
    """The op as one node with its function attached."""
    arguments = case.inputs(0)
    graph = _Graph(case, arguments).eval()
    with quiet_exporter():
        program = torch.onnx.export(graph, _only_tensors(arguments), dynamo=True, verbose=False)
    assert program is not None
    model = program.model_proto
    attach(model)
    return model


def _only_tensors(arguments: Arguments) -> tuple[Tensor, ...]:
    return tuple(x for x in arguments if isinstance(x, Tensor))


def _onnx_runner(case: Case, arguments: Arguments, device: str) -> Callable[..., object] | None:
    """Runs ONNX Runtime with one thread on the device; None where it has no provider or no node for it, or where
    torch's exporter, which needs onnxscript, cannot write the model."""
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
    if not case.in_onnx or provider not in ort.get_available_providers() or find_spec("onnxscript") is None:
        return None
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(onnx_model(case).SerializeToString(), options, providers=[provider])
    names = [given.name for given in session.get_inputs()]
    if device == "cpu":
        return lambda *given: session.run(
            None, {name: x.numpy() for name, x in zip(names, _only_tensors(given), strict=True)}
        )
    binding = session.io_binding()
    for name, tensor in zip(names, _only_tensors(arguments), strict=True):
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(tensor.cpu().numpy(), "cuda", 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, "cuda")
    return lambda *_: session.run_with_iobinding(binding)


def _moved(arguments: Arguments, device: str) -> Arguments:
    return tuple(x.to(device) if isinstance(x, Tensor) else x for x in arguments)


def _tensors(outputs: Outputs) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _gap(actual: Tensor, expected: Tensor) -> float:
    if actual.shape != expected.shape or not torch.equal(actual.isnan(), expected.isnan()):
        return float("inf")
    if not actual.numel():
        return 0.0
    # As Python integers would be compared: fp64 holds no int64 exactly.
    if not expected.is_floating_point():
        return 0.0 if torch.equal(actual.to(expected.dtype), expected) else float("inf")
    difference = (actual.double() - expected.double()).abs() / expected.double().abs().clamp(min=1)
    return float(difference.nan_to_num(nan=0.0).max())
