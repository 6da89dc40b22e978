"""Checks of the settings that NVIDIA's onnxruntime backend reads of a configuration."""

from collections.abc import Iterator, Sequence
from typing import Any

from tritonclient.grpc.model_config_pb2 import (
    ModelConfig,  # pyright: ignore[reportAttributeAccessIssue]
    ModelInstanceGroup,  # pyright: ignore[reportAttributeAccessIssue]
)

from export.lint.entry import Entry, Finding, Problem, is_onnx

_NUMBERS = ("intra_op_thread_count", "inter_op_thread_count", "execution_mode")
_FLAGS = ("enable_mem_arena", "enable_mem_pattern")
_MODES = (0, 1)
_GPU_ACCELERATORS = ("tensorrt", "cuda")
_CPU_ACCELERATORS = ("openvino",)


def onnx_setting_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about parameters and accelerators of one ONNX model."""
    for file, config in entry.configs.items():
        if is_onnx(config):
            for field, reason, remedy in (*_parameters(config), *_accelerators(config)):
                yield entry.error(file, field, reason, remedy)


def _parameters(config: ModelConfig) -> Iterator[Problem]:
    texts = {name: parameter.string_value for name, parameter in config.parameters.items()}
    for name in sorted(set(_NUMBERS) & set(texts)):
        if not texts[name].strip().removeprefix("-").isdecimal():
            yield f"parameters.{name}", f"'{texts[name]}' is not a number", 'write e.g. { string_value: "1" }'
        elif name == "execution_mode" and int(texts[name]) not in _MODES:
            yield f"parameters.{name}", f"'{texts[name]}' is none of {_MODES}", "0 runs nodes in turn, 1 side by side"
    for name in sorted(set(_FLAGS) & set(texts)):
        if texts[name].lower() not in ("0", "1", "true", "false"):
            yield f"parameters.{name}", f"'{texts[name]}' is neither true nor false", "write 0 or 1"


def _accelerators(config: ModelConfig) -> Iterator[Problem]:
    wanted = config.optimization.execution_accelerators
    pairs: list[tuple[Sequence[Any], tuple[str, ...]]] = [(wanted.cpu_execution_accelerator, _CPU_ACCELERATORS)]
    if not config.instance_group or any(group.kind != ModelInstanceGroup.KIND_CPU for group in config.instance_group):
        pairs.append((wanted.gpu_execution_accelerator, _GPU_ACCELERATORS))
    for accelerators, known in pairs:
        for name in sorted({accelerator.name for accelerator in accelerators} - set(known)):
            field = "optimization.execution_accelerators"
            yield field, f"ONNX Runtime's backend knows no accelerator '{name}'", f"use one of {known}"
