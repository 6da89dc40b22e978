"""Cases of the sequence batcher: strategies, control inputs, implicit states."""

from collections.abc import Iterator

from tests.export.lint_cases.case import Case

_START = "kind: CONTROL_SEQUENCE_START"
_FP32 = "fp32_false_true: [ 0, 1 ]"


def cases() -> Iterator[Case]:
    """All cases of this file."""
    for name, field, text in _SEQUENCE:
        yield Case(name=f"sequence_{name}", field=field, changes={"scheduling": f"sequence_batching {{ {text} }}"})
    for name, field, control in _CONTROLS:
        text = f"sequence_batching {{ control_input [{control}] }}"
        yield Case(name=f"control_{name}", field=field, changes={"scheduling": text})
    for name, field, state in _STATES:
        text = f"sequence_batching {{ state [{state}] }}"
        yield Case(
            name=f"state_{name}",
            field=field,
            changes={"scheduling": text},
            more=_STATE_FILES,
            hangs=field is not None,
        )


_SEQUENCE: tuple[tuple[str, str | None, str], ...] = (
    ("default", None, ""),
    ("idle", None, "max_sequence_idle_microseconds: 5000000"),
    ("direct", None, "direct { minimum_slot_utilization: 0.5 }"),
    ("direct_above", "sequence_batching.direct.minimum_slot_utilization", "direct { minimum_slot_utilization: 1.5 }"),
    ("direct_below", "sequence_batching.direct.minimum_slot_utilization", "direct { minimum_slot_utilization: -0.5 }"),
    ("oldest", None, "oldest { max_candidate_sequences: 4 preferred_batch_size: [ 4 ] }"),
    ("oldest_above", "sequence_batching.oldest.preferred_batch_size", "oldest { preferred_batch_size: [ 16 ] }"),
    ("oldest_zero", "sequence_batching.oldest.preferred_batch_size", "oldest { preferred_batch_size: [ 0 ] }"),
    ("oldest_negative_candidates", None, "oldest { max_candidate_sequences: -1 }"),
    ("iterative", None, "iterative_sequence: true"),
)


def _control(name: str, text: str) -> str:
    return f"{{ name: '{name}' control [{{ {text} }}] }}"


_INPUTS = "sequence_batching.control_input"
_CONTROLS: tuple[tuple[str, str | None, str], ...] = (
    ("fp32", None, _control("START", f"{_START} {_FP32}")),
    ("int32", None, _control("START", f"{_START} int32_false_true: [ 0, 1 ]")),
    ("bool", None, _control("START", f"{_START} bool_false_true: [ false, true ]")),
    ("no_values", f"{_INPUTS}.START", _control("START", _START)),
    ("one_value", f"{_INPUTS}.START", _control("START", f"{_START} fp32_false_true: [ 1 ]")),
    ("three_values", f"{_INPUTS}.START", _control("START", f"{_START} int32_false_true: [ 0, 1, 2 ]")),
    ("two_types", f"{_INPUTS}.START", _control("START", f"{_START} {_FP32} int32_false_true: [ 0, 1 ]")),
    ("no_name", f"{_INPUTS}[0].name", _control("", f"{_START} {_FP32}")),
    ("end_no_values", f"{_INPUTS}.END", _control("END", "kind: CONTROL_SEQUENCE_END")),
    ("ready_one_value", f"{_INPUTS}.R", _control("R", "kind: CONTROL_SEQUENCE_READY bool_false_true: [ true ]")),
    ("no_controls", None, "{ name: 'START' }"),
    (
        "same_name",
        f"{_INPUTS}.S",
        f"{_control('S', f'{_START} {_FP32}')}, {_control('S', f'kind: CONTROL_SEQUENCE_END {_FP32}')}",
    ),
    ("two_kinds", None, f"{{ name: 'S' control [{{ {_START} {_FP32} }}, {{ kind: CONTROL_SEQUENCE_END {_FP32} }}] }}"),
    ("same_kind", f"{_INPUTS}.B", f"{_control('A', f'{_START} {_FP32}')}, {_control('B', f'{_START} {_FP32}')}"),
    ("id", None, _control("ID", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64")),
    ("id_string", None, _control("ID", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING")),
    ("id_float", f"{_INPUTS}.ID", _control("ID", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32")),
    ("id_no_type", f"{_INPUTS}.ID", _control("ID", "kind: CONTROL_SEQUENCE_CORRID")),
    (
        "id_values",
        f"{_INPUTS}.ID",
        _control("ID", f"kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 {_FP32}"),
    ),
    (
        "id_twice",
        f"{_INPUTS}.J",
        ", ".join(_control(name, "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT32") for name in ("I", "J")),
    ),
    ("called_as_input", None, _control("x", f"{_START} {_FP32}")),
)

_STATE = "input_name: 'in' output_name: 'out' data_type: TYPE_FP32 dims: [ 4 ]"
_FIRST = "name: 'zero' data_type: TYPE_FP32"
_FIELD = "sequence_batching.state.in"
_STATE_FILES = {"initial_state/four": bytes(16)}
_STATES: tuple[tuple[str, str | None, str], ...] = (
    ("plain", None, f"{{ {_STATE} }}"),
    ("open", None, "{ input_name: 'in' output_name: 'out' data_type: TYPE_FP32 dims: [ -1 ] }"),
    ("no_type", None, "{ input_name: 'in' output_name: 'out' dims: [ 4 ] }"),
    ("no_dims", None, "{ input_name: 'in' output_name: 'out' data_type: TYPE_FP32 }"),
    ("no_names", None, "{ data_type: TYPE_FP32 dims: [ 4 ] }"),
    ("dims_zero", None, "{ input_name: 'in' output_name: 'out' data_type: TYPE_FP32 dims: [ 0 ] }"),
    ("same_input", None, f"{{ {_STATE} }}, {{ {_STATE.replace(chr(39) + 'out', chr(39) + 'other')} }}"),
    ("initial_zero", None, f"{{ {_STATE} initial_state {{ {_FIRST} dims: [ 4 ] zero_data: true }} }}"),
    ("initial_file", None, f"{{ {_STATE} initial_state {{ {_FIRST} dims: [ 4 ] data_file: 'four' }} }}"),
    ("initial_no_file", _FIELD, f"{{ {_STATE} initial_state {{ {_FIRST} dims: [ 4 ] data_file: 'none' }} }}"),
    (
        "initial_short_file",
        _FIELD,
        "{ input_name: 'in' output_name: 'out' data_type: TYPE_FP64 dims: [ 4 ] "
        "initial_state { name: 'a' data_type: TYPE_FP64 dims: [ 4 ] data_file: 'four' } }",
    ),
    ("initial_no_data", _FIELD, f"{{ {_STATE} initial_state {{ {_FIRST} dims: [ 4 ] }} }}"),
    ("initial_other_dims", _FIELD, f"{{ {_STATE} initial_state {{ {_FIRST} dims: [ 5 ] zero_data: true }} }}"),
    ("initial_other_rank", _FIELD, f"{{ {_STATE} initial_state {{ {_FIRST} dims: [ 2, 2 ] zero_data: true }} }}"),
    ("initial_open", _FIELD, f"{{ {_STATE} initial_state {{ {_FIRST} dims: [ -1 ] zero_data: true }} }}"),
    (
        "initial_other_type",
        _FIELD,
        f"{{ {_STATE} initial_state {{ name: 'a' data_type: TYPE_FP16 dims: [ 4 ] zero_data: true }} }}",
    ),
    (
        "initial_no_name",
        _FIELD,
        f"{{ {_STATE} initial_state {{ data_type: TYPE_FP32 dims: [ 4 ] zero_data: true }} }}",
    ),
    (
        "initial_two",
        _FIELD,
        f"{{ {_STATE} initial_state [{{ {_FIRST} dims: [ 4 ] zero_data: true }}, "
        f"{{ {_FIRST} dims: [ 4 ] zero_data: true }}] }}",
    ),
    ("growable_on_cpu", None, f"{{ {_STATE} use_growable_memory: true use_same_buffer_for_input_output: true }}"),
    ("growable_two_buffers", None, f"{{ {_STATE} use_growable_memory: true }}"),
)
