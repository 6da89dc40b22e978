"""Advice on one configuration by itself: queue, threads, ragged tensors."""

from collections.abc import Iterator

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.lint.entry import Entry, Finding, is_ensemble, is_kernel_form, is_onnx
from export.model_config import MAX_BACKLOG_MS, MAX_QUEUE_SIZE, QUEUE_TIMEOUT_US
from serving.backends.backlog import PARAMETER
from serving.backends.onnxruntime.model_spec import RUN_ELEMENTS

INTRA_OP_THREADS = "intra_op_thread_count"


def setting_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about each configuration of one model."""
    for file, config in entry.configs.items():
        if not is_ensemble(config):
            yield from _queue(entry, file, config)
        if is_onnx(config):
            yield from _threads(entry, file, config)
            yield from _run_elements(entry, file, config)
        if is_onnx(config) or is_kernel_form(config):
            yield from _ragged(entry, file, config)


def intra_op_threads(config: ModelConfig) -> int | None:
    """Threads of one instance; None where nothing or no positive number is set."""
    text = config.parameters[INTRA_OP_THREADS].string_value if INTRA_OP_THREADS in config.parameters else ""
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def _queue(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    if not config.HasField("dynamic_batching"):
        if config.max_batch_size > 0 and not config.HasField("sequence_batching"):
            reason = "without a dynamic batcher requests run one by one, and their queue has no bound"
            remedy = f"add dynamic_batching with max_queue_size: {MAX_QUEUE_SIZE} in its default_queue_policy"
            yield entry.warning(file, "dynamic_batching", reason, remedy)
        return
    if PARAMETER in config.parameters:
        yield from _backlog(entry, file, config)
        return
    field = "dynamic_batching.default_queue_policy"
    policy = config.dynamic_batching.default_queue_policy
    if policy.max_queue_size == 0:
        reason = "0 means no bound: an overload fills the memory, and every answer comes too late"
        yield entry.warning(file, f"{field}.max_queue_size", reason, f"set it, e.g. to {MAX_QUEUE_SIZE}")
    if policy.default_timeout_microseconds == 0:
        reason = "requests wait in the queue for ever"
        remedy = f"set the longest useful wait, e.g. {QUEUE_TIMEOUT_US}"
        yield entry.warning(file, f"{field}.default_timeout_microseconds", reason, remedy)
    if policy.timeout_action != policy.REJECT:
        reason = "DELAY keeps requests whose caller has given up"
        yield entry.warning(file, f"{field}.timeout_action", reason, "set it to REJECT")


def _backlog(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    """The bound that our backends keep, in place of the server's."""
    text, field = config.parameters[PARAMETER].string_value, f"parameters.{PARAMETER}"
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        yield entry.error(file, field, f"'{text}' is not a number of milliseconds", f"write e.g. {MAX_BACKLOG_MS}")
    if file != "configs/cpu.pbtxt":
        remedy = "set max_queue_size and a timeout in dynamic_batching.default_queue_policy"
        yield entry.warning(file, field, "only our backends on the target cpu keep this bound", remedy)
    if config.dynamic_batching.HasField("default_queue_policy"):
        reason = "a queue policy beside it switches off prefetching in tritonserver 2.51, which then stalls"
        yield entry.warning(file, "dynamic_batching.default_queue_policy", reason, "remove one of the two")


def _threads(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    if intra_op_threads(config) is None:
        reason = "unset: ONNX Runtime starts a thread per core of the host, not of the container"
        remedy = 'set it to cores / instances, at least { string_value: "1" }'
        yield entry.warning(file, f"parameters.{INTRA_OP_THREADS}", reason, remedy)


def _run_elements(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    if RUN_ELEMENTS not in config.parameters:
        return
    text, field = config.parameters[RUN_ELEMENTS].string_value, f"parameters.{RUN_ELEMENTS}"
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        yield entry.error(file, field, f"'{text}' is not a number of elements", "write 1 or more, or remove it")
    if not any(tensor.allow_ragged_batch for tensor in config.input):
        yield entry.error(file, field, "no input is ragged, so no request has elements to count", "remove it")
    if file != "configs/cpu.pbtxt":
        reason = "only our backend on the target cpu answers a batch by several runs"
        yield entry.warning(file, field, reason, "set preferred_batch_size or max_batch_size")


def _ragged(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    inputs = {tensor.name: tensor for tensor in config.input}
    ragged = {name for name, tensor in inputs.items() if tensor.allow_ragged_batch}
    counted = {source for batch_input in config.batch_input for source in batch_input.source_input}
    for name in sorted(ragged - counted):
        reason = "the input is ragged, but no batch_input tells the graph where a request's elements end"
        yield entry.warning(file, f"input.{name}", reason, "add a batch_input BATCH_ACCUMULATED_ELEMENT_COUNT of it")
    for kind, batch_tensors in (("batch_input", config.batch_input), ("batch_output", config.batch_output)):
        # A source that is no input at all is an error of its own.
        for source in sorted({source for tensor in batch_tensors for source in tensor.source_input} & set(inputs)):
            if source not in ragged:
                reason = f"source '{source}' is not an input with allow_ragged_batch"
                yield entry.warning(file, f"{kind}.source_input", reason, f"set allow_ragged_batch on input '{source}'")
