"""Cases of batch sizes, queues and what excludes each other."""

from collections.abc import Iterator

from tests.export.lint_cases.case import Case


def cases() -> Iterator[Case]:
    """All cases of this file."""
    for name, field, text in _DYNAMIC:
        yield Case(name=f"dynamic_{name}", field=field, changes={"scheduling": f"dynamic_batching {{ {text} }}"})
    yield from _OTHER


_QUEUE = "dynamic_batching.priority_queue_policy"
_LEVEL = "dynamic_batching.default_priority_level"
_DYNAMIC: tuple[tuple[str, str | None, str], ...] = (
    ("default", None, ""),
    ("preferred", None, "preferred_batch_size: [ 4, 8 ]"),
    ("preferred_above", "dynamic_batching.preferred_batch_size", "preferred_batch_size: [ 4, 16 ]"),
    ("preferred_zero", "dynamic_batching.preferred_batch_size", "preferred_batch_size: [ 0 ]"),
    ("preferred_negative", "dynamic_batching.preferred_batch_size", "preferred_batch_size: [ -4 ]"),
    ("levels", None, "priority_levels: 2 default_priority_level: 2"),
    ("levels_without_default", _LEVEL, "priority_levels: 2"),
    ("levels_default_above", _LEVEL, "priority_levels: 2 default_priority_level: 3"),
    ("default_without_levels", None, "default_priority_level: 3"),
    ("policy", None, "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 2 value {} }"),
    ("policy_zero", _QUEUE, "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 0 value {} }"),
    ("policy_above", _QUEUE, "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value {} }"),
    ("policy_without_levels", None, "priority_queue_policy { key: 3 value {} }"),
    ("ordered", None, "preserve_ordering: true"),
    ("ordered_one_level", None, "preserve_ordering: true priority_levels: 1 default_priority_level: 1"),
    (
        "ordered_levels",
        "dynamic_batching.preserve_ordering",
        "preserve_ordering: true priority_levels: 2 default_priority_level: 1",
    ),
    (
        "ordered_delay",
        "dynamic_batching.default_queue_policy.timeout_action",
        "preserve_ordering: true default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5 }",
    ),
    ("ordered_delay_no_timeout", None, "preserve_ordering: true default_queue_policy { timeout_action: DELAY }"),
    (
        "ordered_policy_delay",
        "dynamic_batching.priority_queue_policy",
        "preserve_ordering: true priority_levels: 1 default_priority_level: 1 priority_queue_policy "
        "{ key: 1 value { timeout_action: DELAY default_timeout_microseconds: 5 } }",
    ),
    ("unbounded", None, "default_queue_policy { max_queue_size: 0 }"),
    ("delay", None, "default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5 }"),
    ("queue_delay_negative", "", "max_queue_delay_microseconds: -1"),
)

_DECOUPLED = "model_transaction_policy { decoupled: true }"
_CACHE = "response_cache { enable: true }"
_OTHER = (
    Case(name="batch_size_zero", field=None, changes={"max_batch_size": ""}),
    Case(name="batch_size_negative", field="max_batch_size", changes={"max_batch_size": "max_batch_size: -1"}),
    Case(name="dynamic_without_batch", field=None, changes={"max_batch_size": "", "s": "dynamic_batching {}"}),
    Case(
        name="dynamic_preferred_without_batch",
        field="dynamic_batching.preferred_batch_size",
        changes={"max_batch_size": "", "s": "dynamic_batching { preferred_batch_size: [ 1 ] }"},
    ),
    Case(name="sequence_without_batch", field=None, changes={"max_batch_size": "", "s": "sequence_batching {}"}),
    Case(name="two_batchers", field="", changes={"s": "dynamic_batching {}\nsequence_batching {}"}),
    Case(name="decoupled", field=None, changes={"p": _DECOUPLED}),
    Case(name="cache", field=None, changes={"p": _CACHE}),
    Case(name="cache_decoupled", field="response_cache.enable", changes={"p": f"{_CACHE}\n{_DECOUPLED}"}),
    Case(name="cache_off_decoupled", field=None, changes={"p": f"response_cache {{}}\n{_DECOUPLED}"}),
    Case(name="cache_sequence", field="response_cache.enable", changes={"p": f"{_CACHE}\nsequence_batching {{}}"}),
    Case(name="decoupled_sequence", field=None, changes={"p": f"{_DECOUPLED}\nsequence_batching {{}}"}),
)
