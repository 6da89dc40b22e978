"""Checks of what runs a model: platform, backend, and fields that only a newer server knows."""

from collections.abc import Iterator

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.kinds import KERNEL_BACKEND
from export.lint.completion import KINDS, PLATFORMS, TENSORFLOW, settled_backend
from export.lint.entry import DEFAULT_TARGET, Entry, Finding
from export.onnx import OLDEST_SERVER
from serving.configs import FUSED

_OURS = {FUSED, KERNEL_BACKEND}
_NVIDIAS = {
    *{kind.backend for kind in KINDS},
    *("dali", "fil", "vllm", "tensorrtllm", "hugectr", "hps", "identity", "square", "repeat", "sequence", "query"),
    *("dyna_sequence", "implicit_state", "iterative_sequence", "distributed_addsub", "armnn_tflite", "paddle"),
}
"""Backends of NVIDIA's containers and of its test suite."""

_MISNOMERS = PLATFORMS | {"onnx": "onnxruntime", "torch": "pytorch", "libtorch": "pytorch", "trt": "tensorrt"}
_NEWER = ("model_metrics",)
_SHORTEST_TYPO = 5
"""Names shorter than this are too like each other to call one a misspelling."""


def backend_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about the platform and the backend of each configuration of one model."""
    for file, config in entry.configs.items():
        if config.name != entry.name:
            reason = f"the name is '{config.name}', the folder's name '{entry.name}'"
            yield entry.error(file, "name", reason, "use the folder's name")
        yield from _newer(entry, file, config)
        if config.platform == "ensemble" or config.HasField("ensemble_scheduling"):
            yield from _ensemble(entry, file, config)
        elif not config.backend:
            yield from _without_backend(entry, file, config)
        elif not settled_backend(config):
            yield from _pair(entry, file, config)
        else:
            yield from _name(entry, file, config)
            yield from _runtime(entry, file, config)


def _newer(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    found = [name for name in _NEWER if config.HasField(name)]
    if config.ensemble_scheduling.max_inflight_requests:
        found.append("ensemble_scheduling.max_inflight_requests")
    for name in found:
        reason = f"tritonserver {OLDEST_SERVER} does not know this field, and refuses the whole configuration"
        yield entry.error(file, name, reason, "remove it, or serve with a newer tritonserver")


def _ensemble(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    if not config.HasField("ensemble_scheduling"):
        if config.backend:
            reason = f"platform 'ensemble' and backend '{config.backend}' exclude each other"
            yield entry.error(file, "platform", reason, "remove the platform")
        else:
            reason = "an ensemble without steps"
            yield entry.error(file, "ensemble_scheduling", reason, "add its steps, or set another platform")
    elif config.platform != "ensemble":
        reason = f"platform is '{config.platform}', but ensemble_scheduling is set"
        yield entry.error(file, "platform", reason, 'set platform: "ensemble" and no backend')
    elif config.backend:
        reason = f"an ensemble has no backend, but '{config.backend}' is set"
        yield entry.error(file, "backend", reason, "remove it")


def _without_backend(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    if config.platform:
        remedy = f"use one of {sorted(PLATFORMS)}, or name a backend instead"
        yield entry.error(file, "platform", f"tritonserver knows no platform '{config.platform}'", remedy)
    else:
        reason = "neither the configuration nor a known model file tells which backend runs the model"
        yield entry.error(file, "backend", reason, "name the backend, e.g. onnxruntime")


def _pair(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    platforms = sorted(name for name, backend in PLATFORMS.items() if backend == config.backend)
    reason = f"platform '{config.platform}' does not go with backend '{config.backend}'"
    remedy = f"use one of {platforms}" if config.backend == TENSORFLOW else f"set {platforms[0]}, or leave it out"
    yield entry.error(file, "platform", reason, remedy)


def _name(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    name = config.backend
    if name == FUSED and file == DEFAULT_TARGET and "configs/cpu.pbtxt" in entry.configs:
        reason = f"no server but that of the target cpu has the backend '{FUSED}'"
        yield entry.error(file, "backend", reason, 'set platform: "ensemble" here, and keep it in configs/cpu.pbtxt')
    if name in _NVIDIAS | _OURS or _has_library(entry, f"libtriton_{name}.so"):
        return
    meant = _MISNOMERS.get(name) or next((known for known in sorted(_NVIDIAS) if _is_typo(name, known)), None)
    if meant:
        yield entry.error(file, "backend", f"there is no backend '{name}'", f"'{meant}' is meant, presumably")
    else:
        reason = f"'{name}' is no backend of NVIDIA's containers"
        yield entry.warning(file, "backend", reason, "make sure that it is installed in the server")


def _has_library(entry: Entry, file: str) -> bool:
    """Whether the model brings the library, beside its configuration or in a version."""
    return any((folder / file).is_file() for folder in (entry.folder, *entry.folder.iterdir()))


def _is_typo(name: str, known: str) -> bool:
    """Whether two letters at most were changed, left out or added."""
    return name.lower() == known or (len(known) >= _SHORTEST_TYPO and _distance(name.lower(), known) <= 2)


def _distance(one: str, other: str) -> int:
    """Levenshtein's edit distance."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, start=1):
        previous, row[0] = row[0], number
        for place, wanted in enumerate(other, start=1):
            changed = previous + (letter != wanted)
            previous, row[place] = row[place], min(changed, row[place] + 1, row[place - 1] + 1)
    return row[-1]


def _runtime(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    known = ("", "model.py", f"libtriton_{config.backend}.so")
    if config.runtime not in known and not _has_library(entry, config.runtime):
        reason = f"the backend '{config.backend}' has no library '{config.runtime}'"
        yield entry.error(file, "runtime", reason, f"leave it out, or use one of {known[1:]}")
