"""Cases of inputs and outputs: names, types, dims, reshapes, labels, ragged batches."""

from collections.abc import Iterator

from tests.export.lint_cases.case import Case

_ONE = "name: 'x' data_type: TYPE_FP32"
_RAGGED = f"input [{{ {_ONE} dims: [ -1 ] allow_ragged_batch: true }}]"
_COUNTS = "kind: BATCH_ACCUMULATED_ELEMENT_COUNT data_type: TYPE_INT32"


def cases() -> Iterator[Case]:
    """All cases of this file."""
    for name, field, tensor in _INPUTS:
        yield Case(name=f"input_{name}", field=field, changes={"input": f"input [{{ {tensor} }}]"})
    for name, field, tensor in _OUTPUTS:
        yield Case(name=f"output_{name}", field=field, changes={"output": f"output [{{ {tensor} }}]"})
    for name, field, tensor in _WITHOUT_BATCH:
        changes = {"max_batch_size": "", "input": f"input [{{ {tensor} }}]"}
        yield Case(name=f"unbatched_{name}", field=field, changes=changes)
    for name, field, text in _BATCH_TENSORS:
        yield Case(name=f"batch_{name}", field=field, changes={"input": _RAGGED, "batch": text})
    yield from _LABELS
    yield from _SETS


_INPUTS: tuple[tuple[str, str | None, str], ...] = (
    ("open", None, f"{_ONE} dims: [ -1, 4 ]"),
    ("dims_missing", "input.x.dims", _ONE),
    ("dims_zero", "input.x.dims", f"{_ONE} dims: [ 0 ]"),
    ("dims_minus_two", "input.x.dims", f"{_ONE} dims: [ 4, -2 ]"),
    ("type_missing", "input.x.data_type", "name: 'x' dims: [ 4 ]"),
    ("type_invalid", "input.x.data_type", "name: 'x' data_type: TYPE_INVALID dims: [ 4 ]"),
    ("name_missing", "input[0].name", "data_type: TYPE_FP32 dims: [ 4 ]"),
    ("string", None, "name: 'x' data_type: TYPE_STRING dims: [ 1 ]"),
    ("bfloat16", None, "name: 'x' data_type: TYPE_BF16 dims: [ 1 ]"),
    ("optional", None, f"{_ONE} dims: [ 4 ] optional: true"),
    ("format_nchw", None, f"{_ONE} dims: [ 3, 4, 4 ] format: FORMAT_NCHW"),
    ("format_two_dims", "input.x.format", f"{_ONE} dims: [ 4, 4 ] format: FORMAT_NHWC"),
    ("shape_tensor", "input.x.is_shape_tensor", f"{_ONE} dims: [ 4 ] is_shape_tensor: true"),
    ("non_linear", "input.x.is_non_linear_format_io", f"{_ONE} dims: [ 4, 4, 4 ] is_non_linear_format_io: true"),
    ("reshape_same_size", None, f"{_ONE} dims: [ 4 ] reshape {{ shape: [ 2, 2 ] }}"),
    ("reshape_other_size", "input.x.reshape", f"{_ONE} dims: [ 4 ] reshape {{ shape: [ 2, 3 ] }}"),
    ("reshape_empty_of_one", None, f"{_ONE} dims: [ 1 ] reshape {{ shape: [ ] }}"),
    ("reshape_empty_of_ones", None, f"{_ONE} dims: [ 1, 1 ] reshape {{ shape: [ ] }}"),
    ("reshape_empty_of_four", "input.x.reshape", f"{_ONE} dims: [ 4 ] reshape {{ shape: [ ] }}"),
    ("reshape_empty_of_open", "input.x.reshape", f"{_ONE} dims: [ -1 ] reshape {{ shape: [ ] }}"),
    ("reshape_zero", "input.x.reshape", f"{_ONE} dims: [ 4 ] reshape {{ shape: [ 0 ] }}"),
    ("reshape_minus_two", "input.x.reshape", f"{_ONE} dims: [ 4 ] reshape {{ shape: [ -2 ] }}"),
    ("reshape_open", None, f"{_ONE} dims: [ 2, 4, -1, 6 ] reshape {{ shape: [ 8, -1, 1, 6 ] }}"),
    ("reshape_open_moved", "input.x.reshape", f"{_ONE} dims: [ 2, -1 ] reshape {{ shape: [ -1, 2 ] }}"),
    ("reshape_fixed_to_open", "input.x.reshape", f"{_ONE} dims: [ 4 ] reshape {{ shape: [ -1 ] }}"),
    ("reshape_open_to_fixed", "input.x.reshape", f"{_ONE} dims: [ -1 ] reshape {{ shape: [ 4 ] }}"),
    ("reshape_two_open_to_one", "input.x.reshape", f"{_ONE} dims: [ -1, -1 ] reshape {{ shape: [ -1 ] }}"),
)

_OUTPUTS: tuple[tuple[str, str | None, str], ...] = (
    ("open", None, "name: 'y' data_type: TYPE_INT64 dims: [ -1 ]"),
    ("dims_zero", "output.y.dims", "name: 'y' data_type: TYPE_FP32 dims: [ 4, 0 ]"),
    ("dims_missing", "output.y.dims", "name: 'y' data_type: TYPE_FP32"),
    ("type_missing", "output.y.data_type", "name: 'y' dims: [ 4 ]"),
    ("name_missing", "output[0].name", "data_type: TYPE_FP32 dims: [ 4 ]"),
    ("reshape_other_size", "output.y.reshape", "name: 'y' data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 5 ] }"),
    ("reshape_empty", None, "name: 'y' data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] }"),
    ("shape_tensor", "output.y.is_shape_tensor", "name: 'y' data_type: TYPE_INT32 dims: [ 4 ] is_shape_tensor: true"),
    (
        "non_linear",
        "output.y.is_non_linear_format_io",
        "name: 'y' data_type: TYPE_FP32 dims: [ 3, 4, 4 ] is_non_linear_format_io: true",
    ),
)

_WITHOUT_BATCH: tuple[tuple[str, str | None, str], ...] = (
    ("plain", None, f"{_ONE} dims: [ -1, 4 ]"),
    ("reshape_empty", "input.x.reshape", f"{_ONE} dims: [ 1 ] reshape {{ shape: [ ] }}"),
    ("reshape", None, f"{_ONE} dims: [ 1, 4 ] reshape {{ shape: [ 4 ] }}"),
    ("ragged", None, f"{_ONE} dims: [ -1 ] allow_ragged_batch: true"),
)

_BATCH_TENSORS: tuple[tuple[str, str | None, str], ...] = (
    ("counts", None, f"batch_input [{{ {_COUNTS} target_name: 'o' source_input: 'x' }}]"),
    ("counts_float", None, "batch_input [{ data_type: TYPE_FP32 target_name: 'o' source_input: 'x' }]"),
    ("no_type", "batch_input.o.data_type", "batch_input [{ target_name: 'o' source_input: 'x' }]"),
    ("int64", "batch_input.o.data_type", "batch_input [{ data_type: TYPE_INT64 target_name: 'o' source_input: 'x' }]"),
    ("no_source", "batch_input.o.source_input", f"batch_input [{{ {_COUNTS} target_name: 'o' }}]"),
    (
        "two_sources",
        "batch_input.o.source_input",
        f"batch_input [{{ {_COUNTS} target_name: 'o' source_input: [ 'x', 'x' ] }}]",
    ),
    (
        "unknown_source",
        "batch_input.o.source_input",
        f"batch_input [{{ {_COUNTS} target_name: 'o' source_input: 'z' }}]",
    ),
    ("no_target", None, f"batch_input [{{ {_COUNTS} source_input: 'x' }}]"),
    (
        "item_shape",
        None,
        "batch_input [{ kind: BATCH_ITEM_SHAPE data_type: TYPE_INT32 target_name: 'o' source_input: 'x' }]",
    ),
    ("unknown_kind", "", "batch_input [{ kind: BATCH_OFFSETS target_name: 'o' source_input: 'x' }]"),
    ("scatter", None, "batch_output [{ target_name: 'y' source_input: 'x' }]"),
    ("scatter_no_source", "batch_output.y.source_input", "batch_output [{ target_name: 'y' }]"),
    (
        "scatter_two_sources",
        "batch_output.y.source_input",
        "batch_output [{ target_name: 'y' source_input: [ 'x', 'x' ] }]",
    ),
    (
        "scatter_unknown_source",
        "batch_output.y.source_input",
        "batch_output [{ target_name: 'y' source_input: 'z' }]",
    ),
    (
        "scatter_unknown_target",
        "batch_output.z.target_name",
        "batch_output [{ target_name: 'z' source_input: 'x' }]",
    ),
    (
        "scatter_same_target",
        "batch_output.y.target_name",
        "batch_output [{ target_name: [ 'y', 'y' ] source_input: 'x' }]",
    ),
    (
        "scatter_twice",
        None,
        "batch_output [{ target_name: 'y' source_input: 'x' }, { target_name: 'y' source_input: 'x' }]",
    ),
)

_LABELED = {"output": "output [{ name: 'y' data_type: TYPE_FP32 dims: [ 2 ] label_filename: 'labels.txt' }]"}

_LABELS = (
    Case(name="labels", field=None, changes=_LABELED, more={"labels.txt": "cat\ndog\n"}),
    Case(name="labels_missing", field="output.y.label_filename", changes=_LABELED),
    Case(name="labels_in_version", field="output.y.label_filename", changes=_LABELED, more={"1/labels.txt": "cat\n"}),
    Case(name="labels_too_few", field=None, changes=_LABELED, more={"labels.txt": "cat\n"}),
    Case(name="labels_empty", field=None, changes=_LABELED, more={"labels.txt": ""}),
    Case(name="labels_folder", field="output.y.label_filename", changes=_LABELED, more={"labels.txt/": ""}, hangs=True),
)

_TWICE = "[{ name: 'x' data_type: TYPE_FP32 dims: [ 4 ] }, { name: 'x' data_type: TYPE_INT32 dims: [ 2 ] }]"

_SETS = (
    Case(name="inputs_same_name", field=None, changes={"input": f"input {_TWICE}"}),
    Case(name="outputs_same_name", field=None, changes={"output": f"output {_TWICE}"}),
    Case(
        name="input_called_as_output",
        field=None,
        changes={"output": "output [{ name: 'x' data_type: TYPE_FP32 dims: [ 4 ] }]"},
    ),
    Case(name="inputs_missing", field=None, changes={"input": ""}),
    Case(name="outputs_missing", field=None, changes={"output": ""}),
)
