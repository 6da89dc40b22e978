"""Cases of ensembles: the graph of their tensors, and how it fits the models of the steps."""

from collections.abc import Iterator, Mapping

from tests.export.lint_cases.case import Case

_STEP = "ensemble_scheduling.step"


def _step(model: str, inputs: str, outputs: str, version: int = -1) -> str:
    """`inputs` and `outputs` as "x=a z=b": the model's tensor and the ensemble's."""
    maps = [
        f"{kind} {{ key: '{key}' value: '{value}' }}"
        for kind, text in (("input_map", inputs), ("output_map", outputs))
        for key, value in (pair.split("=") for pair in text.split())
    ]
    return f"{{ model_name: '{model}' model_version: {version} {' '.join(maps)} }}"


def _tensor(name: str, dims: str = "4", dtype: str = "FP32", more: str = "") -> str:
    return f"{{ name: '{name}' data_type: TYPE_{dtype} dims: [ {dims} ] {more} }}"


def _ensemble(steps: str, **changes: str) -> Mapping[str, str]:
    return {
        "backend": 'platform: "ensemble"',
        "max_batch_size": "max_batch_size: 8",
        "input": f"input [{_tensor('a')}]",
        "output": f"output [{_tensor('b')}]",
        "steps": f"ensemble_scheduling {{ step [{steps}] }}",
    } | changes


_PLAIN: Mapping[str, str] = {}
_TWO_IN = {"input": f"input [{_tensor('x')}, {_tensor('z')}]"}
_TWO_OUT = {"output": f"output [{_tensor('y')}, {_tensor('z')}]"}
_CHAIN = f"{_step('$p', 'x=a', 'y=t')}, {_step('$q', 'x=t', 'y=b')}"
_ONE = _step("$p", "x=a", "y=b")
_DECOUPLED = {"d": "model_transaction_policy { decoupled: true }"}


def _case(
    name: str, field: str | None, steps: str, parts: Mapping[str, Mapping[str, str]] | None = None, **changes: str
) -> Case:
    return Case(
        name=f"ensemble_{name}",
        field=field,
        base=_ensemble(steps, **changes),
        files={"1/": ""},
        parts={"p": _PLAIN} if parts is None else parts,
    )


def cases() -> Iterator[Case]:
    """All cases of this file."""
    yield from _graph_cases()
    yield from _field_cases()
    yield from _fit_cases()
    yield from _shape_cases()
    yield from _batch_cases()


def _graph_cases() -> Iterator[Case]:
    two = {"p": _PLAIN, "q": _PLAIN}
    yield _case("one", None, _ONE)
    yield _case("chain", None, _CHAIN, two)
    yield _case("chain_backwards", None, f"{_step('$q', 'x=t', 'y=b')}, {_step('$p', 'x=a', 'y=t')}", two)
    yield _case("same_model_twice", None, f"{_step('$p', 'x=a', 'y=t')}, {_step('$p', 'x=t', 'y=b')}")
    yield _case(
        "cycle",
        _STEP,
        f"{_step('$p', 'x=s', 'y=t')}, {_step('$q', 'x=t z=a', 'y=s z=b')}",
        {"p": _PLAIN, "q": _TWO_IN | _TWO_OUT},
    )
    yield _case("reads_nothing", f"{_STEP}[0].input_map", _step("$p", "x=ghost z=a", "y=b"), {"p": _TWO_IN})
    yield _case(
        "typo_between_steps",
        f"{_STEP}[1].input_map",
        f"{_step('$p', 'x=a', 'y=t')}, {_step('$q', 'x=tt', 'y=b')}",
        two,
    )
    yield _case("typo_of_input", f"{_STEP}[0].input_map", _step("$p", "x=aa", "y=b"))
    yield _case("output_not_written", "output", _step("$p", "x=a", "y=other"))
    yield _case("input_unused", "input", _ONE, input=f"input [{_tensor('a')}, {_tensor('c')}]")
    yield _case("tensor_unused", f"{_STEP}[0].output_map", _step("$p", "x=a", "y=b z=t"), {"p": _TWO_OUT})
    yield _case("output_of_model_unmapped", None, _ONE, {"p": _TWO_OUT})
    yield _case("input_as_output", None, _ONE, output=f"output [{_tensor('a')}, {_tensor('b')}]")
    yield _case("two_writers", f"{_STEP}[1].output_map", f"{_ONE}, {_step('$q', 'x=a', 'y=b')}", two)
    yield _case("writes_input", None, f"{_ONE}, {_step('$q', 'x=b', 'y=a')}", two)


def _field_cases() -> Iterator[Case]:
    yield _case("no_steps", "ensemble_scheduling.step", "")
    yield Case(
        name="ensemble_no_section",
        field="ensemble_scheduling",
        base={**_ensemble(""), "steps": ""},
        files={"1/": ""},
    )
    yield _case("no_model_name", f"{_STEP}[0].model_name", _step("", "x=a", "y=b"))
    yield _case("no_input_map", f"{_STEP}[0].input_map", _step("$p", "", "y=b"))
    yield _case("no_output_map", f"{_STEP}[0].output_map", _step("$p", "x=a", ""))
    yield _case("instance_group", "instance_group", _ONE, g="instance_group [{ kind: KIND_CPU }]")
    yield _case("optimization", "optimization", _ONE, g="optimization {}")
    yield _case("warmup", "model_warmup", _ONE, g="model_warmup [{ name: 'w' }]")
    yield _case("parameters", None, _ONE, g="parameters [{ key: 'a' value { string_value: 'b' } }]")
    yield _case("backend", "backend", _ONE, g='backend: "python"')
    yield _case("scheduling_only", "platform", _ONE, backend="")
    yield _case("scheduling_of_python", "platform", _ONE, backend='backend: "python"')
    yield _case("dynamic_batching", "", _ONE, g="dynamic_batching {}")
    yield _case("cache", None, _ONE, g="response_cache { enable: true }")
    yield Case(
        name="ensemble_no_version", field="", base=_ensemble(_ONE), files={"notes.txt": "-"}, parts={"p": _PLAIN}
    )


def _fit_cases() -> Iterator[Case]:
    yield _case("no_model", f"{_STEP}[0].model_name", _ONE, {})
    yield _case("of_itself", f"{_STEP}[0].model_name", _step("ensemble_of_itself", "a=a", "b=b"), {})
    yield _case("version_there", None, _step("$p", "x=a", "y=b", version=1))
    yield _case("version_missing", f"{_STEP}[0].model_version", _step("$p", "x=a", "y=b", version=7))
    yield _case("version_zero", f"{_STEP}[0].model_version", _step("$p", "x=a", "y=b", version=0))
    yield _case("version_minus_two", f"{_STEP}[0].model_version", _step("$p", "x=a", "y=b", version=-2))
    yield _case("unknown_input", f"{_STEP}[0].input_map", _step("$p", "x=a w=a", "y=b"))
    yield _case("unknown_output", f"{_STEP}[0].output_map", _step("$p", "x=a", "w=b"))
    yield _case("input_unmapped", f"{_STEP}[0].input_map", _ONE, {"p": _TWO_IN})
    optional = {"input": f"input [{_tensor('x')}, {_tensor('z', more='optional: true')}]"}
    yield _case("optional_unmapped", None, _ONE, {"p": optional})
    yield _case("one_tensor_twice", None, _step("$p", "x=a z=a", "y=b"), {"p": _TWO_IN})
    yield _case("batch_above", "max_batch_size", _ONE, {"p": {"max_batch_size": "max_batch_size: 4"}})
    yield _case("batch_below", None, _ONE, {"p": {"max_batch_size": "max_batch_size: 16"}})
    yield _case("broken_step", "input.x.dims", _ONE, {"p": {"input": f"input [{_tensor('x', '0')}]"}})
    forked = f"{_step('$p', 'x=a', 'y=s')}, {_step('$q', 'x=a', 'y=t')}, {_step('$r', 'x=s z=t', 'y=b')}"
    yield _case("decoupled", None, _ONE, {"p": _DECOUPLED})
    yield _case(
        "two_decoupled",
        f"{_STEP}[2].input_map",
        forked,
        {"p": _DECOUPLED, "q": _DECOUPLED, "r": _TWO_IN},
    )
    yield _case("decoupled_joined", f"{_STEP}[2].input_map", forked, {"p": _DECOUPLED, "q": _PLAIN, "r": _TWO_IN})
    yield _case(
        "decoupled_two_outputs",
        None,
        f"{_step('$p', 'x=a', 'y=s z=t')}, {_step('$r', 'x=s z=t', 'y=b')}",
        {"p": _TWO_OUT | _DECOUPLED, "r": _TWO_IN},
    )


def _shape_cases() -> Iterator[Case]:
    eight = {"input": f"input [{_tensor('x', '8')}]"}
    yield _case("step_dims", f"{_STEP}[1].input_map", _CHAIN, {"p": _PLAIN, "q": eight})
    yield _case("input_dims", f"{_STEP}[0].input_map", _ONE, {"p": eight})
    yield _case("output_dims", f"{_STEP}[0].output_map", _ONE, {"p": {"output": f"output [{_tensor('y', '5')}]"}})
    yield _case("open_dims", None, _ONE, {"p": {"input": f"input [{_tensor('x', '-1')}]"}})
    yield _case("open_dims_of_ensemble", None, _ONE, input=f"input [{_tensor('a', '-1')}]")
    yield _case("rank", f"{_STEP}[0].input_map", _ONE, {"p": {"input": f"input [{_tensor('x', '-1, 4')}]"}})
    yield _case("type", f"{_STEP}[0].input_map", _ONE, {"p": {"input": f"input [{_tensor('x', dtype='INT64')}]"}})
    yield _case(
        "step_type",
        f"{_STEP}[1].input_map",
        _CHAIN,
        {"p": _PLAIN, "q": {"input": f"input [{_tensor('x', dtype='FP16')}]"}},
    )
    yield _case(
        "output_type", f"{_STEP}[0].output_map", _ONE, {"p": {"output": f"output [{_tensor('y', dtype='FP64')}]"}}
    )


def _batch_cases() -> Iterator[Case]:
    unbatched = {"max_batch_size": ""}
    full = {
        **unbatched,
        "input": f"input [{_tensor('x', '-1, 4')}]",
        "output": f"output [{_tensor('y', '-1, 4')}]",
    }
    yield _case("unbatched_step", None, _ONE, {"p": unbatched})
    yield _case("unbatched_step_with_batch_axis", None, _ONE, {"p": full})
    yield _case("unbatched", None, _ONE, max_batch_size="")
    yield _case("unbatched_both", None, _ONE, {"p": unbatched}, max_batch_size="")
    yield _case(
        "unbatched_with_batch_axis",
        None,
        _ONE,
        max_batch_size="",
        input=f"input [{_tensor('a', '-1, 4')}]",
        output=f"output [{_tensor('b', '-1, 4')}]",
    )
    yield _case(
        "step_reshape", None, _ONE, {"p": {"input": f"input [{_tensor('x', more='reshape { shape: [ 2, 2 ] }')}]"}}
    )
    yield _case(
        "reshape", f"{_STEP}[0].input_map", _ONE, input=f"input [{_tensor('a', more='reshape { shape: [ 2, 2 ] }')}]"
    )
    yield _case(
        "dims_zero_of_open_step",
        "input.a.dims",
        _ONE,
        {"p": {"input": f"input [{_tensor('x', '-1')}]"}},
        input=f"input [{_tensor('a', '0')}]",
    )
    yield _case("tensor_dims_zero", "input.a.dims", _ONE, input=f"input [{_tensor('a', '0')}]")
