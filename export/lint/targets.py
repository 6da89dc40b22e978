"""Checks across configurations: two targets of one model, all models of one target."""

from collections.abc import Iterator, Sequence

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.lint.ensembles import ensemble_findings
from export.lint.entry import DEFAULT_TARGET, Entry, Finding, is_kernel_form, is_onnx
from export.lint.settings import INTRA_OP_THREADS, intra_op_threads
from export.model_config import signature_changes


def target_findings(entries: Sequence[Entry], cores: int) -> Iterator[Finding]:
    """Findings that need more than one configuration, or the machine's cores."""
    for entry in entries:
        yield from _same_signature(entry)
    files = {DEFAULT_TARGET, *(file for entry in entries for file in entry.configs)}
    for file in sorted(files):
        yield from _ensembles(entries, file)
        yield from _own_cores(entries, file, cores)
    yield from _all_cores(entries, sorted(files), cores)


def _same_signature(entry: Entry) -> Iterator[Finding]:
    default = entry.configs.get(DEFAULT_TARGET)
    for file, config in entry.configs.items():
        if default is None or file == DEFAULT_TARGET:
            continue
        for field in signature_changes(default, config):
            reason = f"differs from {DEFAULT_TARGET}: the same client could not use both targets"
            yield entry.warning(file, field, reason, "generate both from one signature")


def _used(entry: Entry, file: str) -> ModelConfig | None:
    """The configuration a server uses that was started for the target: its own, or else the default."""
    return entry.configs.get(file, entry.configs.get(DEFAULT_TARGET))


def _ensembles(entries: Sequence[Entry], file: str) -> Iterator[Finding]:
    models = {entry.name: (entry, config) for entry in entries if (config := _used(entry, file)) is not None}
    for entry in entries:
        config = entry.configs.get(file)
        if config is not None and config.platform == "ensemble" and config.HasField("ensemble_scheduling"):
            yield from ensemble_findings(entry, file, config, models)


def _own_cores(entries: Sequence[Entry], file: str, cores: int) -> Iterator[Finding]:
    """Of each model that has more threads than there are cores."""
    for entry in entries:
        config = entry.configs.get(file)
        if config is None or not _has_threads(config):
            continue
        instances, threads = _instances(config), intra_op_threads(config) or 1
        if instances * threads > cores:
            reason = f"{instances} instances x {threads} threads on {cores} cores: threads take turns, latency jumps"
            remedy = f"keep the product at or below {cores}"
            yield entry.warning(file, f"parameters.{INTRA_OP_THREADS}", reason, remedy)


def _all_cores(entries: Sequence[Entry], files: Sequence[str], cores: int) -> Iterator[Finding]:
    """Of all models together: one finding for the targets with the same number of threads."""
    alike: dict[int, list[str]] = {}
    for file in files:
        used = [config for entry in entries if (config := _used(entry, file)) is not None and _has_threads(config)]
        total = sum(_instances(config) * (intra_op_threads(config) or 1) for config in used)
        alike.setdefault(total, []).append(f"*/{file}")
    for total, places in alike.items():
        if total > cores:
            reason = f"all models of one target together run {total} threads on {cores} cores"
            remedy = "fine while few models work at the same time; otherwise fewer instances or more cores"
            yield Finding("warning", ", ".join(places), f"parameters.{INTRA_OP_THREADS}", reason, remedy)


def _has_threads(config: ModelConfig) -> bool:
    return is_onnx(config) or is_kernel_form(config)


def _instances(config: ModelConfig) -> int:
    """Instances on one machine; a group without a count has one, a GPU group one per GPU that it lists."""
    return sum(max(1, group.count) * max(1, len(group.gpus)) for group in config.instance_group) or 1
