"""Cases of what runs a model: backends and platforms, instances, warm-up, optimisation, further sections, the text."""

from collections.abc import Iterator

from tests.export.lint_cases.case import ANSWERS_NOTHING, Case

_WARM = "name: 'w' batch_size: 1"
_X = "data_type: TYPE_FP32 dims: [ 4 ]"


def cases() -> Iterator[Case]:
    """All cases of this file."""
    for name, field, text in _GROUPS:
        yield Case(name=f"group_{name}", field=field, changes={"instance_group": text})
    for name, text in _OF_THE_MACHINE:
        yield Case(name=f"machine_{name}", field=None, changes=text, judge="machine")
    for name, field, text in _WARMUPS:
        yield Case(name=f"warmup_{name}", field=field, changes={"w": f"model_warmup [{text}]"}, more=_WARM_FILES)
    for name, field, text in _SECTIONS:
        yield Case(name=f"section_{name}", field=field, changes={"s": text})
    for name, text in _TEXTS:
        yield Case(name=f"text_{name}", field="", changes={"t": text})
    for name, text in _GOOD_TEXTS:
        yield Case(name=f"text_{name}", field=None, changes={"t": text})
    yield from _BACKENDS


_GROUPS: tuple[tuple[str, str | None, str], ...] = (
    ("none", None, ""),
    ("auto", None, "instance_group [{ }]"),
    ("count", None, "instance_group [{ count: 2 kind: KIND_CPU }]"),
    ("count_zero", None, "instance_group [{ count: 0 kind: KIND_CPU }]"),
    ("count_negative", None, "instance_group [{ count: -1 kind: KIND_CPU }]"),
    ("cpu_gpus", "instance_group[0].gpus", "instance_group [{ kind: KIND_CPU gpus: [ 0 ] }]"),
    ("second_cpu_gpus", "instance_group[1].gpus", "instance_group [{ kind: KIND_CPU }, { kind: KIND_CPU gpus: 1 }]"),
    ("model", None, "instance_group [{ kind: KIND_MODEL }]"),
    ("model_gpus", "instance_group[0].gpus", "instance_group [{ kind: KIND_MODEL gpus: [ 0 ] }]"),
    ("negative_gpu", "instance_group[0].gpus", "instance_group [{ kind: KIND_GPU gpus: [ -1 ] }]"),
    ("unknown_kind", "", "instance_group [{ kind: KIND_TPU }]"),
    ("profile", "instance_group[0].profile", "instance_group [{ kind: KIND_CPU profile: [ '1' ] }]"),
    ("passive", None, "instance_group [{ kind: KIND_CPU }, { kind: KIND_CPU passive: true }]"),
    ("only_passive", None, "instance_group [{ kind: KIND_CPU passive: true }]"),
    ("host_policy", None, "instance_group [{ kind: KIND_CPU host_policy: 'nowhere' }]"),
    ("same_names", None, "instance_group [{ name: 'a' kind: KIND_CPU }, { name: 'a' kind: KIND_CPU }]"),
    (
        "secondary_device",
        None,
        "instance_group [{ kind: KIND_CPU secondary_devices [{ kind: KIND_NVDLA device_id: 1 }] }]",
    ),
    (
        "rate_limiter",
        None,
        "instance_group [{ kind: KIND_CPU rate_limiter { resources [{ name: 'r' count: 4 }] priority: 2 } }]",
    ),
)

_OF_THE_MACHINE: tuple[tuple[str, dict[str, str]], ...] = (
    ("gpu", {"instance_group": "instance_group [{ kind: KIND_GPU gpus: [ 0 ] }]"}),
    ("any_gpu", {"instance_group": "instance_group [{ kind: KIND_GPU }]"}),
    ("auto_gpus", {"instance_group": "instance_group [{ gpus: [ 0 ] }]"}),
    ("agent", {"s": "model_repository_agents { agents [{ name: 'checksum' }] }"}),
    ("backend_of_its_own", {"backend": 'backend: "acme_ranker"'}),
)

_WARM_FILES = {"warmup/four": bytes(16), "warmup/two": bytes(8)}
_INPUTS = "model_warmup.w.inputs.x"
_WARMUPS: tuple[tuple[str, str | None, str], ...] = (
    ("zero", None, f"{{ {_WARM} inputs {{ key: 'x' value {{ {_X} zero_data: true }} }} }}"),
    ("random", None, f"{{ {_WARM} inputs {{ key: 'x' value {{ {_X} random_data: true }} }} }}"),
    ("file", None, f"{{ {_WARM} inputs {{ key: 'x' value {{ {_X} input_data_file: 'four' }} }} }}"),
    (
        "no_file",
        f"{_INPUTS}.input_data_file",
        f"{{ {_WARM} inputs {{ key: 'x' value {{ {_X} input_data_file: 'n' }} }} }}",
    ),
    (
        "short_file",
        f"{_INPUTS}.input_data_file",
        f"{{ {_WARM} inputs {{ key: 'x' value {{ {_X} input_data_file: 'two' }} }} }}",
    ),
    ("no_data", _INPUTS, f"{{ {_WARM} inputs {{ key: 'x' value {{ {_X} }} }} }}"),
    (
        "other_dims",
        f"{_INPUTS}.dims",
        f"{{ {_WARM} inputs {{ key: 'x' value {{ data_type: TYPE_FP32 dims: [ 5 ] zero_data: true }} }} }}",
    ),
    (
        "other_rank",
        f"{_INPUTS}.dims",
        f"{{ {_WARM} inputs {{ key: 'x' value {{ data_type: TYPE_FP32 dims: [ 1, 4 ] zero_data: true }} }} }}",
    ),
    (
        "open_dims",
        f"{_INPUTS}.dims",
        f"{{ {_WARM} inputs {{ key: 'x' value {{ data_type: TYPE_FP32 dims: [ -1 ] zero_data: true }} }} }}",
    ),
    (
        "other_type",
        f"{_INPUTS}.data_type",
        f"{{ {_WARM} inputs {{ key: 'x' value {{ data_type: TYPE_INT32 dims: [ 4 ] zero_data: true }} }} }}",
    ),
    (
        "no_type",
        f"{_INPUTS}.data_type",
        f"{{ {_WARM} inputs {{ key: 'x' value {{ dims: [ 4 ] zero_data: true }} }} }}",
    ),
    ("no_inputs", "model_warmup.w.inputs", f"{{ {_WARM} }}"),
    (
        "further_input",
        None,
        f"{{ {_WARM} inputs {{ key: 'x' value {{ {_X} zero_data: true }} }} "
        f"inputs {{ key: 'START' value {{ {_X} zero_data: true }} }} }}",
    ),
    ("batch_zero", None, f"{{ name: 'w' batch_size: 0 inputs {{ key: 'x' value {{ {_X} zero_data: true }} }} }}"),
    ("batch_zero_wrong", None, "{ name: 'w' batch_size: 0 inputs { key: 'x' value { dims: [ -1 ] } } }"),
    ("batch_above", None, f"{{ name: 'w' batch_size: 16 inputs {{ key: 'x' value {{ {_X} zero_data: true }} }} }}"),
    ("count", None, f"{{ {_WARM} count: 3 inputs {{ key: 'x' value {{ {_X} zero_data: true }} }} }}"),
    ("no_name", None, f"{{ batch_size: 1 inputs {{ key: 'x' value {{ {_X} zero_data: true }} }} }}"),
)

_SECTIONS: tuple[tuple[str, str | None, str], ...] = (
    ("parameters", None, "parameters [{ key: 'a' value { string_value: 'b' } }]"),
    ("metric_tags", None, "metric_tags [{ key: 'a' value: 'b' }]"),
    ("optimization", None, "optimization { priority: PRIORITY_MAX graph { level: 1 } }"),
    ("optimization_graph_level", None, "optimization { graph { level: 7 } }"),
    ("optimization_cuda", None, "optimization { cuda { graphs: true } }"),
    ("accelerator", None, "optimization { execution_accelerators { cpu_execution_accelerator [{ name: 'any' }] } }"),
    ("pinned", None, "optimization { input_pinned_memory { enable: false } }"),
    ("cc_files", None, "cc_model_filenames [{ key: '8.0' value: 'model.plan' }]"),
    ("operations", None, "model_operations { op_library_filename: 'none.so' }"),
    ("runtime", None, "runtime: 'libtriton_identity.so'"),
    ("runtime_unknown", "runtime", "runtime: 'other.py'"),
    ("name", None, "name: 'section_name'"),
    ("unknown_field", "", "max_batchsize: 8"),
    ("wrong_type", "", "max_queue: 'many'"),
    (
        "newer_field",
        "model_metrics",
        "model_metrics { metric_control [{ metric_identifier { family: 'a' } histogram_options { buckets: [ 1 ] } }] }",
    ),
    ("comment", None, "# a comment"),
    ("field_twice", "", "max_batch_size: 4"),
    ("name_of_another", "name", "name: 'somebody_else'"),
    ("platform_of_anything", None, "platform: 'anything'"),
    ("ensemble_platform", "platform", "platform: 'ensemble'"),
    ("policy_latest", None, "version_policy { latest { num_versions: 2 } }"),
    ("policy_latest_zero", "version_policy.latest.num_versions", "version_policy { latest { num_versions: 0 } }"),
    ("policy_all", None, "version_policy { all {} }"),
    ("policy_empty", None, "version_policy {}"),
    ("policy_specific", None, "version_policy { specific { versions: [ 1 ] } }"),
    ("policy_specific_missing", "version_policy.specific.versions", "version_policy { specific { versions: [ 3 ] } }"),
    ("policy_specific_some", None, "version_policy { specific { versions: [ 1, 3 ] } }"),
    ("policy_specific_none", "version_policy.specific.versions", "version_policy { specific {} }"),
)

_TEXTS = (
    ("quoted_kind", "instance_group [{ kind: 'KIND_CPU' }]"),
    ("float_for_number", "parameters [{ key: 1.5 value { string_value: 'b' } }]"),
    ("comma_at_the_end", "version_policy { specific { versions: [ 1, ] } }"),
    ("quoted_number", "version_policy { specific { versions: [ '1' ] } }"),
    ("quoted_flag", "response_cache { enable: 'false' }"),
    ("number_for_text", "model_warmup [{ name: 5 }]"),
    ("brace_missing", "response_cache { enable: true"),
    ("colon_missing", "runtime 'model.py'"),
    ("flag_of_two", "response_cache { enable: 2 }"),
    ("fraction", "version_policy { latest { num_versions: 1.0 } }"),
    ("negative_unsigned", "version_policy { latest { num_versions: -1 } }"),
    ("too_large", "version_policy { latest { num_versions: 4294967296 } }"),
    ("slashes", "// a comment"),
    ("equals", "runtime = 'model.py'"),
    ("dollar", "metric_tags { key: $a value: 'b' }"),
)
_GOOD_TEXTS = (
    ("hexadecimal", "version_policy { latest { num_versions: 0x2 } }"),
    ("octal", "version_policy { latest { num_versions: 02 } }"),
    ("number_of_kind", "parameters { key: 'a' value { string_value: 'b' } }, optimization { priority: 1 }"),
    ("semicolons", "response_cache { enable: false; };"),
    ("angles", "response_cache < enable: false >"),
    ("flag_of_one", "response_cache { enable: 0 }"),
    ("flag_short", "response_cache { enable: f }"),
    ("flag_capital", "response_cache { enable: False }"),
    ("joined_strings", "metric_tags { key: 'a' 'b' value: 'c' }"),
    ("colon_before_brace", "response_cache: { enable: false }"),
    ("umlaut", "metric_tags { key: 'a' value: 'ä' }"),
    ("escapes", "metric_tags { key: 'a' value: '\\x41\\n' }"),
    ("fraction_suffix", "sequence_batching { direct { minimum_slot_utilization: 0.5f } }"),
)


def _platform(name: str, field: str | None, text: str, judge_files: dict[str, str | bytes]) -> Case:
    return Case(name=f"backend_{name}", field=field, changes={"backend": text}, files=judge_files)


_BACKENDS = (
    _platform("platform_typo", "platform", 'platform: "onnx_runtime"', {"1/model.onnx": ""}),
    _platform("platform_alone", "platform", 'platform: "python"', {"1/model.py": ""}),
    _platform("mismatch", "platform", 'platform: "tensorrt_plan"\nbackend: "onnxruntime"', {"1/model.plan": ""}),
    _platform("platform_unknown", "platform", 'platform: "onnx"\nbackend: "onnxruntime"', {"1/model.onnx": ""}),
    _platform("tensorrt", None, 'platform: "tensorrt_plan"', {"1/model.plan": "engine"}),
    _platform("tensorrt_pair", None, 'platform: "tensorrt_plan"\nbackend: "tensorrt"', {"1/model.plan": "engine"}),
    _platform("graphdef", None, 'platform: "tensorflow_graphdef"', {"1/model.graphdef": "graph"}),
    _platform("savedmodel", None, 'platform: "tensorflow_savedmodel"', {"1/model.savedmodel/saved_model.pb": "graph"}),
    _platform("pytorch", None, 'platform: "pytorch_libtorch"', {"1/model.pt": "script"}),
    _platform("pytorch_backend", None, 'backend: "pytorch"', {"1/model.pt": "script"}),
    _platform("openvino", None, 'backend: "openvino"', {"1/model.xml": "", "1/model.bin": ""}),
    _platform("python", None, 'backend: "python"', {"1/model.py": ANSWERS_NOTHING}),
    _platform("typo", "backend", 'backend: "pyhton"', {"1/model.py": ""}),
    _platform("platform_for_backend", "backend", 'backend: "tensorrt_plan"', {"1/model.plan": ""}),
    _platform("tensorflow_unsaid", "platform", 'backend: "tensorflow"', {"1/": ""}),
    _platform("tensorflow_by_file", None, 'backend: "tensorflow"', {"1/model.graphdef": "graph"}),
    _platform("none_but_python", None, "", {"1/model.py": ANSWERS_NOTHING}),
    _platform("none_but_plan", None, "", {"1/model.plan": "engine"}),
    _platform("none_and_nothing", "backend", "", {"1/weights.bin": "1"}),
    Case(name="by_name.identity", field=None, changes={"backend": ""}),
    _platform("by_model_filename", None, 'default_model_filename: "model.pt"', {"1/model.pt": "script"}),
    _platform("caffe", "platform", 'platform: "caffe2_netdef"', {"1/model.netdef": ""}),
    _platform("capital", "backend", 'backend: "Python"', {"1/model.py": ""}),
)
