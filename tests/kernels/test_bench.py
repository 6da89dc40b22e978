"""No number without a correct answer; results are written and read back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kernels import bench
from kernels.bench import Timing, time_case, worst_gap
from kernels.case import Case
from kernels.devices import Work
from kernels.registry import OPS
from kernels.report import rows
from kernels.results import measured

CORRECT = [
    pytest.param(op.name, case, id=f"{op.name}-{case.config}")
    for op in OPS
    for case in op.cases()
    if case.name == "request"
]


def doubled(x: Tensor) -> Tensor:
    return x + x


TOY = Case(
    name="request",
    config="toy",
    inputs=lambda seed: (torch.arange(4.0) + seed,),
    op=doubled,
    reference=lambda x: 2 * x,
    launch=doubled,
    work=Work(16, 16, 4, "fp32"),
    tolerance=1e-6,
)


@pytest.mark.parametrize(("name", "case"), CORRECT)
def test_every_op_answers_its_request_as_the_reference_does(name: str, case: Case) -> None:
    assert worst_gap(case, "cpu") <= case.tolerance


@pytest.mark.parametrize(
    ("wrong", "gap"),
    [
        (lambda x: 2 * x + 1e-3, 1e-3),
        (lambda x: (2 * x)[:3], float("inf")),
        (lambda x: torch.full_like(x, torch.nan), float("inf")),
    ],
)
def test_a_wrong_answer_gets_no_times(wrong, gap: float) -> None:
    case = replace(TOY, op=wrong)
    assert worst_gap(case, "cpu") == pytest.approx(gap, rel=1e-2)
    timing = time_case("toy", case, "cpu", worst_gap(case, "cpu"))
    assert not timing.ok
    assert timing.op_us is timing.eager_us is timing.onnx_us is None


def test_integers_must_be_equal() -> None:
    large = torch.tensor([2**60 + 1])
    case = replace(TOY, inputs=lambda _: (large,), op=lambda x: x - 1, reference=lambda x: x, tolerance=0.0)
    assert worst_gap(case, "cpu") == float("inf")
    assert worst_gap(replace(case, op=lambda x: x), "cpu") == 0.0


def test_a_case_with_a_body_is_timed_against_onnx_runtime() -> None:
    timing = time_case("toy", replace(TOY, batched=doubled), "cpu", 0.0)
    assert timing.ok
    assert all(value is not None and value > 0 for value in (timing.op_us, timing.eager_us, timing.onnx_us))
    assert timing.copy_us is timing.compiled_us is None
    assert torch.get_num_threads() >= 1


def test_unknown_ops_and_missing_gpus_are_named() -> None:
    with pytest.raises(ValueError, match="not 'attention'"):
        bench.bench("cpu", "attention")
    with pytest.raises(ValueError, match="not 'tpu'"):
        bench.bench("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            bench.bench("cuda")


def test_results_are_read_back_with_their_architecture(tmp_path: Path) -> None:
    timing = Timing(op="toy", case="saturated", config="narrow", gap=0.0, ok=True, op_us=3.5)
    found = {"device": "h100", "arch": 90, "rows": [timing.__dict__]}
    (tmp_path / "h100.json").write_text(json.dumps(found))
    assert list(measured(tmp_path)) == [(90, timing)]


def test_every_case_times_a_shipped_configuration_and_every_op_is_metered_and_timed() -> None:
    for op in OPS:
        found = op.cases()
        assert {case.config for case in found} <= {spec.config for spec in op.specializations()}
        assert any(case.metered for case in found)
        assert {"request", "saturated"} <= {case.name for case in found}


@pytest.mark.slow
def test_the_report_has_a_line_per_kernel_and_keeps_modelled_and_measured_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kernels.report.OPS", OPS[:1])
    found = rows()
    assert len(found) == len(OPS[0].specializations())
    for row in found:
        assert row.bytes_over_minimum is not None
        assert row.bytes_over_minimum <= 1.05
        assert row.stack_bytes == row.local_loads == row.local_stores == 0
        assert (row.modelled_us is None) == (row.arch == "sm_100")
        assert row.measured_us is None or row.measured_us > (row.modelled_us or 0)
