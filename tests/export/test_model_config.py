from dataclasses import replace

import pytest
from tritonclient.grpc.model_config_pb2 import DataType  # pyright: ignore[reportAttributeAccessIssue]

from export.model_config import Target, ensemble_problems, model_config, parse, render, signature_changes
from tests.export.brought import flat, pooled, recurrent
from tests.export.models import profile_model, release, scorer_model
from tests.serving import path_models
from training.servable import EnsembleServable, EnsembleStep, Signature, TensorSpec

_, SCORER, USER_STATE, RANKER = release()


@pytest.mark.parametrize("signature", release(), ids=lambda signature: signature.name)
@pytest.mark.parametrize("target", ["gpu", "cpu"])
def test_text_and_configuration_are_the_same_thing(signature: Signature, target: Target) -> None:
    config = model_config(signature, target)
    assert parse(render(config)) == config
    assert render(parse(render(config))) == render(config)


def test_client_sees_ragged_candidates_and_no_counts() -> None:
    config = model_config(SCORER, "cpu")
    assert [(t.name, list(t.dims), t.allow_ragged_batch) for t in config.input] == [
        ("profile", [8], False),
        ("candidates", [-1], True),
    ]
    assert [(t.name, list(t.dims)) for t in config.output] == [("scores", [-1])]


def test_server_counts_candidates_and_cuts_scores() -> None:
    text = render(model_config(SCORER, "gpu"))
    assert 'kind: BATCH_ACCUMULATED_ELEMENT_COUNT\n  target_name: "candidate_offsets"\n  data_type: TYPE_INT32' in text
    (batch_output,) = parse(text).batch_output
    assert (list(batch_output.target_name), list(batch_output.source_input)) == (["scores"], ["candidates"])


def test_user_state_takes_ragged_candidates_without_packing() -> None:
    config = model_config(USER_STATE, "gpu")
    assert (config.backend, [t.allow_ragged_batch for t in config.input]) == ("python", [False, True])
    assert (len(config.batch_input), len(config.batch_output)) == (0, 0)


def test_path_sampler_answers_ragged_outputs_from_a_cpu_on_every_target() -> None:
    step = path_models.release()[0]
    for config in (model_config(step, "gpu"), model_config(step, "cpu")):
        assert config.backend == "python"
        assert [group.kind == group.KIND_CPU for group in config.instance_group] == [True]
        assert not config.batch_input
        assert not config.batch_output
        assert {output.name: list(output.dims) for output in config.output} == {"masks": [-1], "weights": [-1]}
        assert config.parameters["max_elements.candidates"].string_value == "20000"


@pytest.mark.parametrize("target", ["gpu", "cpu"])
def test_an_ensemble_says_how_much_a_request_to_it_may_carry(target: Target) -> None:
    parameters = model_config(RANKER, target).parameters
    bounds = {spec.name: spec.max_elements for spec in RANKER.inputs if spec.max_elements is not None}
    assert bounds
    said = {name: int(parameters[f"max_elements.{name}"].string_value) for name in bounds}
    assert said == bounds


def test_each_target_runs_where_it_should() -> None:
    kinds = {
        (signature.name, target): [
            group.KIND_GPU == group.kind for group in model_config(signature, target).instance_group
        ]
        for signature in (SCORER, USER_STATE, RANKER)
        for target in ("gpu", "cpu")
    }
    assert kinds == {
        ("scorer", "gpu"): [True],
        ("scorer", "cpu"): [False],
        ("user_state", "gpu"): [False],
        ("user_state", "cpu"): [False],
        ("ranker", "gpu"): [],
        ("ranker", "cpu"): [False],
    }


def test_queues_are_bounded_and_late_requests_rejected() -> None:
    for signature in (SCORER, USER_STATE):
        batching = model_config(signature, "gpu").dynamic_batching
        policy = batching.default_queue_policy
        assert policy.max_queue_size == 256
        assert policy.default_timeout_microseconds > 0
        assert policy.timeout_action == policy.REJECT
        assert policy.allow_timeout_override
        assert not batching.preferred_batch_size


def test_on_the_target_cpu_our_backends_bound_the_queue_because_a_policy_stalls_that_server() -> None:
    for signature in (SCORER, USER_STATE):
        config = model_config(signature, "cpu")
        assert config.HasField("dynamic_batching")
        assert not config.dynamic_batching.HasField("default_queue_policy")
        assert config.parameters["max_backlog_ms"].string_value == "500"


def test_threads_and_bounds_travel_as_parameters() -> None:
    parameters = {key: value.string_value for key, value in model_config(SCORER, "cpu").parameters.items()}
    assert parameters == {
        "intra_op_thread_count": "1",
        "inter_op_thread_count": "1",
        "execution_mode": "0",
        "max_backlog_ms": "500",
        "minimum.candidates": "-1",
        "max_elements.candidates": "1000",
    }


def test_a_bounded_number_that_may_be_missing_says_so() -> None:
    hour = TensorSpec(name="hour", dtype="float32", shape=(1,), minimum=-9, maximum=9, missing=True)
    parameters = model_config(replace(SCORER, inputs=(*SCORER.inputs, hour)), "cpu").parameters
    assert [parameters[f"{one}.hour"].string_value for one in ("minimum", "maximum", "missing")] == ["-9", "9", "NaN"]
    assert not any(name.startswith("missing") for name in model_config(SCORER, "cpu").parameters)


def test_only_what_a_client_depends_on_counts_as_a_change() -> None:
    old, new = model_config(SCORER, "cpu"), model_config(SCORER, "gpu")
    assert signature_changes(old, new) == []
    assert signature_changes(old, model_config(replace(SCORER, max_batch_size=8), "cpu")) == ["max_batch_size"]
    assert signature_changes(old, model_config(profile_model("scorer"), "cpu")) == [
        "max_batch_size",
        "input",
        "output",
        "batch_input",
        "batch_output",
    ]


def test_text_that_is_no_configuration_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match=r"not a model configuration: 2:1"):
        parse('name: "x"\nmax_batchsize: 3\n')


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (
            1,
            {"inputs": {"profile": "nobody", "candidates": "candidates"}},
            "input 'profile' of 'scorer' reads 'nobody'",
        ),
        (1, {"outputs": {"scores": "rank"}}, "no step produces 'scores'"),
        (1, {"outputs": {"scores": "user_profile"}}, "writes 'user_profile', which exists already"),
    ],
)
def test_ensemble_whose_tensors_do_not_connect_is_refused(number: int, change: dict, message: str) -> None:
    steps = list(RANKER.steps)
    steps[number] = replace(steps[number], **change)
    with pytest.raises(ValueError, match=f"ensemble 'ranker', .*{message}"):
        model_config(replace(RANKER, steps=tuple(steps)), "gpu")


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        (replace(RANKER, max_batch_size=33), "max_batch_size", "the ensemble's 33 exceeds the 32 of 'scorer'"),
        (
            replace(
                RANKER, steps=(EnsembleStep(model="scorer", inputs={"x": "user_id"}, outputs={"scores": "scores"}),)
            ),
            "ensemble_scheduling.step[0].input_map",
            "'scorer' has no input 'x'",
        ),
        (
            replace(
                RANKER, steps=(EnsembleStep(model="scorer", inputs={"profile": "user_id"}, outputs={"y": "scores"}),)
            ),
            "ensemble_scheduling.step[0].output_map",
            "'scorer' has no output 'y'",
        ),
        (
            replace(RANKER, steps=(RANKER.steps[0], replace(RANKER.steps[1], inputs={"profile": "user_profile"}))),
            "ensemble_scheduling.step[1].input_map",
            "input 'candidates' of 'scorer' is not mapped",
        ),
        (
            replace(
                RANKER,
                steps=(
                    RANKER.steps[0],
                    replace(RANKER.steps[1], inputs={"profile": "user_id", "candidates": "candidates"}),
                ),
            ),
            "ensemble_scheduling.step[1].input_map",
            "input 'profile' of 'scorer' is TYPE_FP32, 'user_id' is TYPE_INT64",
        ),
    ],
)
def test_ensemble_that_does_not_fit_its_steps_is_found(changed: EnsembleServable, field: str, reason: str) -> None:
    steps = {signature.name: model_config(signature, "gpu") for signature in (SCORER, USER_STATE)}
    problems = list(ensemble_problems(model_config(changed, "gpu"), steps))
    assert (field, reason) in [(problem.field, problem.reason) for problem in problems]


def test_ensemble_of_the_release_fits_its_steps() -> None:
    steps = {signature.name: model_config(signature, "gpu") for signature in release()}
    assert list(ensemble_problems(steps["ranker"], steps)) == []


def test_configuration_is_the_same_however_the_steps_were_written() -> None:
    backwards = tuple(replace(step, inputs=dict(reversed(step.inputs.items()))) for step in RANKER.steps)
    assert render(model_config(replace(RANKER, steps=backwards), "cpu")) == render(model_config(RANKER, "cpu"))


def test_scorer_configuration_does_not_depend_on_the_weights() -> None:
    assert render(model_config(scorer_model(), "gpu")) == render(model_config(SCORER, "gpu"))


def test_on_the_target_cpu_an_ensemble_is_one_model_with_the_same_signature_and_a_bounded_queue() -> None:
    ensemble, fused = model_config(RANKER, "gpu"), model_config(RANKER, "cpu")
    assert (ensemble.platform, fused.platform, fused.backend) == ("ensemble", "", "fused")
    assert not fused.HasField("ensemble_scheduling")
    assert {tensor.name: tensor.allow_ragged_batch for tensor in fused.input} == {"user_id": False, "candidates": True}
    assert fused.parameters["max_backlog_ms"].string_value == "500"
    assert signature_changes(ensemble, fused) == []
    assert signature_changes(ensemble, model_config(replace(RANKER, max_batch_size=8), "cpu")) == ["max_batch_size"]


def test_axes_with_bounds_and_axes_in_common_are_written_for_the_backends() -> None:
    config = model_config(pooled(), "cpu")
    parameters = {
        name: value.string_value for name, value in config.parameters.items() if "length" in name + value.string_value
    }
    assert parameters == {
        "axes.history": "length",
        "axes.mask": "length",
        "least.length": "2",
        "greatest.length": "9",
    }
    assert [tensor.data_type for tensor in config.input] == [DataType.TYPE_INT64, DataType.TYPE_BOOL]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_axes_that_follow_another_are_written_with_it(target: Target) -> None:
    found = model_config(path_models.release()[1], target).parameters
    assert {name: found[name].string_value for name in found if name.startswith(("axes.", "times."))} == {
        "axes.candidates": "candidates",
        "axes.masks": "masks",
        "axes.weights": "weights",
        "times.masks": "4,candidates",
        "times.weights": "5,candidates",
    }


def test_a_shape_without_an_axis_is_one_that_the_server_drops() -> None:
    config = parse(render(model_config(flat(), "gpu")))
    for tensor in (config.input[0], config.input[1], *config.output):
        assert (list(tensor.dims), tensor.HasField("reshape"), list(tensor.reshape.shape)) == ([1], True, [])
    assert not config.input[2].HasField("reshape")


def test_an_open_axis_of_one_input_without_bounds_needs_no_parameter() -> None:
    assert not [name for name in model_config(recurrent(), "cpu").parameters if name.startswith("axes")]
