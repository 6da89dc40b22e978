"""Checks of batch sizes, the dynamic batcher's queue, and what excludes each other."""

from collections.abc import Iterator
from typing import Any

from tritonclient.grpc.model_config_pb2 import (
    ModelConfig,  # pyright: ignore[reportAttributeAccessIssue]
    ModelQueuePolicy,  # pyright: ignore[reportAttributeAccessIssue]
)

from export.lint.entry import Entry, Finding, Problem
from export.lint.sequences import preferred_problems, sequence_problems


def scheduling_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about how each configuration of one model batches requests."""
    for file, config in entry.configs.items():
        for field, reason, remedy in _problems(entry, config):
            yield entry.error(file, field, reason, remedy)


def _problems(entry: Entry, config: ModelConfig) -> Iterator[Problem]:
    if config.max_batch_size < 0:
        yield "max_batch_size", f"{config.max_batch_size} is below 0", "write 0 for a model without a batch axis"
        return
    if config.HasField("dynamic_batching"):
        yield from _dynamic(config)
    if config.HasField("sequence_batching"):
        yield from sequence_problems(entry.folder, config)
    if config.response_cache.enable:
        yield from _cache(config)


def _dynamic(config: ModelConfig) -> Iterator[Problem]:
    batching = config.dynamic_batching
    yield from preferred_problems("dynamic_batching", batching.preferred_batch_size, config.max_batch_size)
    levels = batching.priority_levels
    if levels:
        yield from _levels(batching)
    if not batching.preserve_ordering:
        return
    if levels > 1:
        reason = f"true, but there are {levels} priority_levels"
        yield "dynamic_batching.preserve_ordering", reason, "keep the order or have priorities"
    if _delays(batching.default_queue_policy):
        field = "dynamic_batching.default_queue_policy.timeout_action"
        yield field, "DELAY, but preserve_ordering is true", "set it to REJECT"
    for level in sorted(batching.priority_queue_policy):
        if _delays(batching.priority_queue_policy[level]):
            reason = f"level {level} has timeout_action DELAY, but preserve_ordering is true"
            yield "dynamic_batching.priority_queue_policy", reason, "set it to REJECT"


def _levels(batching: Any) -> Iterator[Problem]:
    levels = batching.priority_levels
    if not 1 <= batching.default_priority_level <= levels:
        reason = f"{batching.default_priority_level} is none of the priority levels 1 to {levels}"
        yield "dynamic_batching.default_priority_level", reason, f"set it, e.g. to {levels}"
    for level in sorted(batching.priority_queue_policy):
        if not 1 <= level <= levels:
            reason = f"{level} is none of the priority levels 1 to {levels}"
            yield "dynamic_batching.priority_queue_policy", reason, "remove it, or raise priority_levels"


def _delays(policy: ModelQueuePolicy) -> bool:
    return policy.default_timeout_microseconds != 0 and policy.timeout_action == ModelQueuePolicy.DELAY


def _cache(config: ModelConfig) -> Iterator[Problem]:
    if config.HasField("sequence_batching"):
        yield "response_cache.enable", "the cache does not go with sequence_batching", "disable one of the two"
    if config.model_transaction_policy.decoupled:
        reason = "the cache does not go with a decoupled transaction policy"
        yield "response_cache.enable", reason, "disable one of the two"
