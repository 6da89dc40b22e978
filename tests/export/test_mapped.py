"""Raw ids in an exported model: the nodes of its graph, its goldens and its configuration, and what is refused."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export import eager
from export.artifacts import Source
from export.edges import edge_cases, settled
from export.goldens import make_goldens
from export.model_config import model_config
from export.onnx import SERVERS, export_onnx
from export.probe import check_edges
from export.repository import check_release, publish
from export.run_alone import open_session
from export.verify import verify_onnx
from serving.ids import IdMap
from serving.steps.user_state import Bounds
from tests.export.brought import ANSWER, IDS, Brought, ids, ids_model, tied
from tests.export.mapped import NAMED, NAMES, SKUS, hot, ranker, reader, with_states
from training.servable import Servable, TensorSpec

SOURCE = Source(kind="factory", name="tests.export.mapped")
ONE_TO_NINETEEN = IdMap(ids=np.arange(1, 20))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ranker's, not to be changed."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export_onnx(ranker(), path)
    return path


def encoders(path: Path) -> dict[str, onnx.NodeProto]:
    """Of a graph, by the tensor of the signature that they read or write."""
    model = onnx.load(path)
    edges = {value.name for value in (*model.graph.input, *model.graph.output)}
    nodes = [node for node in model.graph.node if node.op_type == "LabelEncoder"]
    return {name: node for node in nodes for name in (*node.input, *node.output) if name in edges}


def without_maps(model: Servable) -> Servable:
    inputs, outputs = (tuple(replace(spec, ids=None) for spec in side) for side in (model.inputs, model.outputs))
    return replace(model, inputs=inputs, outputs=outputs)


def test_each_mapped_tensor_passes_one_node_and_old_servers_can_read_it(graph: Path) -> None:
    model, found = onnx.load(graph), encoders(graph)
    assert found.keys() == {"user", "candidates", "asked", "best", "who"}
    versions = {imported.domain: imported.version for imported in model.opset_import}
    assert versions["ai.onnx.ml"] == 4
    assert (model.ir_version, versions[""]) <= (SERVERS["2.51"].ir, SERVERS["2.51"].opset)
    types = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    assert [types[name] for name in ("user", "who")] == [onnx.TensorProto.STRING] * 2
    assert [types[name] for name in ("candidates", "asked", "best")] == [onnx.TensorProto.INT64] * 3


def test_the_graph_answers_what_the_module_answers(graph: Path) -> None:
    assert verify_onnx(ranker(), graph) <= 1e-5
    check_edges(ranker(), graph, edge_cases(ranker()))


@pytest.mark.parametrize("name", ["user", "candidates", "asked", "best", "who"])
def test_two_ids_that_are_exchanged_in_a_graph_are_found(graph: Path, tmp_path: Path, name: str) -> None:
    model = onnx.load(graph)
    (node,) = (
        node for node in model.graph.node if node.op_type == "LabelEncoder" and name in (*node.input, *node.output)
    )
    (values,) = (attribute.t for attribute in node.attribute if attribute.name == "values_tensor")
    array = onnx.numpy_helper.to_array(values).copy()
    array[[1, 8]] = array[[8, 1]]
    values.CopyFrom(onnx.numpy_helper.from_array(array, values.name))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"model 'mapped'.*differs"):
        verify_onnx(ranker(), tmp_path / "model.onnx")


def test_a_map_of_one_to_n_leaves_the_graph_and_the_configuration_as_they_are(tmp_path: Path) -> None:
    module = tied().module

    def model(ids: IdMap | None) -> Servable:
        outputs = [replace(spec, ids=ids) if spec.name == "items" else spec for spec in tied().outputs]
        return replace(tied(), module=module, inputs=(replace(IDS, ids=ids),), outputs=tuple(outputs))

    for number, one in enumerate((model(None), model(ONE_TO_NINETEEN))):
        export_onnx(one, tmp_path / f"{number}.onnx")
    assert (tmp_path / "0.onnx").read_bytes() == (tmp_path / "1.onnx").read_bytes()
    assert model_config(model(None), "cpu") == model_config(model(ONE_TO_NINETEEN), "cpu")


def test_goldens_hold_raw_ids_and_the_answers_to_their_dense_ones() -> None:
    model = ranker()
    inputs = eager.example(model, 16, 0)
    assert int(inputs[0].max()) <= len(NAMES.ids)
    scores = eager.ask(model, inputs)[0]
    goldens = make_goldens(model)
    users = np.concatenate([golden.inputs["user"][:, 0] for golden in goldens])
    assert NAMES.dense(users).tolist() == inputs[0].tolist()
    assert NAMES.dense(users).min() == 0
    candidates = np.concatenate([golden.inputs["candidates"][0] for golden in goldens])
    assert SKUS.dense(candidates).tolist() == inputs[1].tolist()
    assert len(set(candidates[SKUS.dense(candidates) == 0].tolist())) > 1
    np.testing.assert_array_equal(np.concatenate([golden.outputs["scores"][0] for golden in goldens]), scores)


def test_ids_beyond_the_map_are_unknown_to_the_module_as_well() -> None:
    spec = replace(IDS, ids=SKUS)
    model = replace(
        ids_model(Brought(lambda self, ids: ids.sum(1, keepdim=True).float().expand(-1, 4))), inputs=(spec,)
    )
    wild = replace(model, example=lambda batch_size, seed: (torch.full((batch_size, 3), 2**40),))
    assert eager.example(wild, 2, 0)[0].tolist() == [[0, 0, 0]] * 2
    assert eager.example(replace(wild, inputs=(IDS,)), 2, 0)[0].tolist() == [[2**40] * 3] * 2


def test_a_table_without_a_row_for_the_last_id_is_refused() -> None:
    def model(rows: int) -> Servable:
        module = Brought(lambda self, ids: self.rows(ids).sum(1), rows=nn.Embedding(rows, 4))
        given = ids_model(module)
        return replace(
            given, inputs=(replace(IDS, ids=SKUS),), example=lambda size, seed: (ids(size, seed, 3, high=9),)
        )

    assert settled(model(10), lambda line: None).inputs[0].ids == SKUS
    with pytest.raises(
        ValueError, match=r"does not answer the dense id 9 of input 'ids'; give its table a row .* 0 .* to 9"
    ):
        settled(model(9), lambda line: None)


def test_a_bound_is_not_looked_for_where_every_raw_id_is_legal() -> None:
    said: list[str] = []
    assert settled(reader(), said.append).inputs == reader().inputs
    assert said == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dtype": "int32"}, "tensor 'ids': only int64 ids have a map, found int32"),
        ({"minimum": 0}, "tensor 'ids': raw ids have no bounds"),
        ({"maximum": (1, 2, 3)}, "tensor 'ids': raw ids have no bounds"),
        ({"name": "a/b"}, "tensor 'a/b': its map may lie in a file of this name"),
    ],
)
def test_a_tensor_that_cannot_be_mapped_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    spec = TensorSpec(**{"name": "ids", "dtype": "int64", "shape": (3,), "ids": SKUS, **change})
    with pytest.raises(ValueError, match=said):
        model_config(replace(tied(), inputs=(spec,)), "cpu")


def test_packed_strings_are_no_output_as_a_server_could_not_cut_them() -> None:
    model = ranker()
    outputs = tuple(replace(spec, ids=NAMES) if spec.name == "asked" else spec for spec in model.outputs)
    with pytest.raises(ValueError, match="output 'asked': NVIDIA's onnxruntime backend cannot cut packed strings"):
        model_config(replace(model, outputs=outputs), "gpu")


def test_a_step_gives_no_raw_ids_unless_it_says_so() -> None:
    state = with_states()[2]
    outputs = tuple(replace(spec, ids=SKUS) if spec.name == "stamp" else spec for spec in state.outputs)
    with pytest.raises(ValueError, match="output 'stamp': only a graph, or a step that says so, gives raw ids"):
        model_config(replace(state, outputs=outputs), "cpu")


def other_user(models: tuple[Any, ...]) -> tuple[Any, ...]:
    encoder, scorer, _, ensemble = models
    return encoder, scorer, with_states(IdMap(ids=NAMED.ids[1:]))[2], ensemble


def dense_scorer(models: tuple[Any, ...]) -> tuple[Any, ...]:
    encoder, scorer, state, ensemble = models
    return encoder, without_maps(scorer), state, ensemble


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_user, "'user_id' and input 'user_id' of 'user_state' have different maps of ids; give them one"),
        (dense_scorer, "'candidates' and input 'candidates' of 'scorer' have different maps of ids"),
    ],
)
def test_an_ensemble_whose_steps_would_take_an_id_for_another_is_refused(
    change: Callable[[tuple[Any, ...]], tuple[Any, ...]], said: str, tmp_path: Path
) -> None:
    check_release(tmp_path, with_states(), SOURCE)
    with pytest.raises(ValueError, match=said):
        check_release(tmp_path, change(with_states()), SOURCE)


def test_configurations_say_types_longest_strings_and_what_is_no_id() -> None:
    config = model_config(ranker(), "gpu")
    said = {name: value.string_value for name, value in config.parameters.items()}
    assert (said["max_bytes.user"], said["no_id.asked"], said["no_id.best"]) == ("1024", "-2", "-2")
    assert "mapped_ids" not in said
    assert model_config(hot()[1], "gpu").parameters["mapped_ids"].string_value == "candidates"
    state = {name: value.string_value for name, value in model_config(with_states()[2], "cpu").parameters.items()}
    assert state["mapped_ids"] == "user_id,candidates"
    assert Bounds.of(state).users == (-(2**63), 2**63 - 1)


def test_a_release_with_another_kind_of_ids_is_no_new_version(tmp_path: Path) -> None:
    publish(tmp_path, [ranker()], SOURCE)
    with pytest.raises(ValueError, match="they differ in input, output"):
        check_release(tmp_path, [without_maps(ranker())], SOURCE)


@pytest.mark.parametrize("kind", ["int64", "string"])
def test_a_hundred_thousand_ids_are_looked_up_exactly(
    kind: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    size = 100_000
    whole = np.sort(np.random.default_rng(0).choice(2**62, size, replace=False)).astype(np.int64)
    many = IdMap(ids=whole if kind == "int64" else np.array(sorted(f"item-{number}" for number in whole), object))
    spec = replace(IDS, ids=many)
    echo = TensorSpec(name="echo", dtype="int64", shape=(3,), ids=many)
    model = replace(
        ids_model(Brought(lambda self, ids: (ids.float().sum(1, keepdim=True).expand(-1, 4), ids + 0))),
        inputs=(spec,),
        outputs=(ANSWER, echo),
    )
    export_onnx(model, tmp_path / "model.onnx")
    start = time.perf_counter()
    session = open_session(tmp_path / "model.onnx")
    record_property(f"seconds to load {size} ids of {kind}", round(time.perf_counter() - start, 3))
    asked = np.random.default_rng(1).choice(many.ids, (50, 3))
    asked[0, 0] = many.strangers[1]
    (found,) = session.run(["echo"], {"ids": asked})
    asked[0, 0] = many.filling
    assert np.asarray(found).tolist() == asked.tolist()
