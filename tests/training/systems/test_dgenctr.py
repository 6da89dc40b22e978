"""The checks that show that DGenCTR is real: fields follow from the rest and the label, and pre-training pays."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from export.artifacts import Source
from export.repository import publish
from serving.direct import DirectModel
from tests.training.systems.generator_models import (
    NUM_ITEMS,
    NUM_USERS,
    SMALL,
    data,
    features,
    pretrained,
    untrained,
)
from tests.training.systems.served_edges import check_edges, check_negatives, request
from training.data.click import ClickSplit
from training.fit import FitOptions, fit
from training.layers.field_generator import FieldGenerator
from training.layers.field_likelihood import values
from training.layers.likeliest import Likeliest
from training.loop import predict
from training.systems.dgenctr import SYSTEM
from training.systems.dgenctr.evaluation import abundance
from training.systems.dgenctr.explained import explained
from training.systems.dgenctr.stages import all_rows, chosen, labelled, stages

ITEM_FIELDS = (7, 8, 9, 10, 11)


def generated(module: FieldGenerator, masks: list[int], label: float) -> list[torch.Tensor]:
    """Of each masked field, the distribution over its values in the test part's rows."""
    x = features()
    hidden = torch.zeros_like(x.ids, dtype=torch.bool)
    hidden[:, masks] = True
    shown = torch.full((len(x.ids),), label)
    states = module.generator.states(module.masked(module.embedding(x), hidden), shown)
    found = module.generator.directions(states)
    return [torch.softmax(found[:, one] @ values(module.embedding, one).T / SMALL.temperature, 1) for one in masks]


@torch.no_grad()
@pytest.mark.long
def test_a_masked_field_is_found_from_the_others_far_more_often_than_by_its_majority() -> None:
    known = pretrained().embedding.known(features().ids)
    for place in ITEM_FIELDS:
        found = generated(pretrained(), [place], torch.nan)[0].argmax(1)
        majority = known[:, place].bincount().max() / len(known)
        assert (found == known[:, place]).float().mean() > 0.9 > majority + 0.4


@torch.no_grad()
@pytest.mark.long
def test_the_label_decides_what_is_generated_as_it_does_in_the_data() -> None:
    """With every field masked: total variation between the items' classes given a like and given none, in the data and
    as generated; of labels without meaning there is none."""
    label, own = torch.from_numpy(data().test.label), pretrained().embedding.known(features().ids)[:, 7]
    counted = variation(*(share(own[label == kind]) for kind in (0, 1)))
    made = {}
    for name, module in (("true", pretrained()), ("shuffled", pretrained(shuffle_labels=True))):
        no, yes = (generated(module, [*range(12)], kind)[7] for kind in (0.0, 1.0))
        made[name] = variation(yes.mean(0), no.mean(0))
    assert counted + 0.1 > made["true"] > 0.6 * counted > 0.3
    assert made["shuffled"] < 0.15


def share(known: torch.Tensor) -> torch.Tensor:
    return known.bincount(minlength=5) / len(known)


def variation(first: torch.Tensor, second: torch.Tensor) -> float:
    return 0.5 * float((first - second).abs().sum())


@pytest.mark.parametrize("transfer", ["all", "embeddings"])
def test_fine_tuning_starts_with_the_pretrained_weights_that_go_on(
    tmp_path: Path, transfer: Literal["all", "embeddings"]
) -> None:
    """Bit for bit: a click stage that moves nothing leaves what the generative one ended with, of the network too where
    all goes on; else that is the one that no stage has moved."""
    config = replace(SMALL, transfer=transfer, pretraining_epochs=1, learning_rate=0.0, weight_decay=0.0, epochs=1)
    ended = []
    for number in (1, 2):
        chosen_stages = stages(config)[:number]
        options = FitOptions(run=tmp_path / str(number), quiet=True)
        ended.append(fit(replace(SYSTEM, stages=lambda _, kept=chosen_stages: kept), config, data(), options).module)
    torch.manual_seed(0)
    fresh = SYSTEM.build(config, data().schema).state_dict()
    first, last = (one.state_dict() for one in ended)
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert not torch.equal(last["embedding.rows.weight"], fresh["embedding.rows.weight"])
    moved = [name for name, _ in ended[1].named_parameters() if not torch.equal(last[name], fresh[name])]
    assert any(name.startswith("denoiser.") for name in moved) == (transfer == "all")


def test_fine_tuning_starts_with_the_pretrained_prediction_of_the_label() -> None:
    """Bit for bit: that of a row whose label is masked and whose fields are not."""
    _, click = stages(SMALL)
    module, batch = untrained(), data().test.batch(np.arange(50))
    states = module.generator.states(module.embedding(features(50)), torch.full((50,), torch.nan))
    assert torch.equal(module(batch), module.generator.logit(states))
    torch.testing.assert_close(
        click.loss(module, batch, 0.0)[0],
        torch.nn.functional.binary_cross_entropy_with_logits(module.generator.logit(states), batch.label),
    )


def test_no_answer_reads_the_label() -> None:
    module, batch = untrained(), data().test.batch(np.arange(50))
    assert torch.equal(module(batch), module(batch._replace(label=1 - batch.label)))
    (_, click) = stages(SMALL)
    torch.manual_seed(0)
    first = click.loss(module, batch, 0.0)[0]
    flipped = click.loss(module, batch._replace(label=1 - batch.label), 0.0)[0]
    logits = module(batch)
    torch.testing.assert_close(flipped - first, (logits * (2 * batch.label - 1)).mean())


def test_fewer_labels_are_a_part_of_more_and_pretraining_sees_every_row() -> None:
    few, more = chosen(1000, 0.01), chosen(1000, 0.1)
    assert (len(few), len(more)) == (10, 100)
    assert {*few.tolist()} < {*more.tolist()}
    rows = all_rows(data(), 0.1)
    assert np.array_equal(rows.places, data().train.places)
    assert np.array_equal(np.flatnonzero(~np.isnan(rows.label)), chosen(len(rows), 0.1))
    part = labelled(data(), 0.1)
    assert {*part.places.tolist()} == {*data().train.places[chosen(len(rows), 0.1)].tolist()}
    assert len(part) >= len(rows)
    assert np.array_equal(labelled(data(), 1.0).places, data().train.places)


def test_stages_and_their_rows_and_rates_follow_from_the_configuration() -> None:
    def found(**changes: object) -> list[tuple[str, float]]:
        return [(stage.name, stage.learning_rate) for stage in stages(replace(SMALL, **changes))]

    generate, click = (stage.samples(data()) for stage in stages(replace(SMALL, labels=0.1)))
    assert isinstance(generate, ClickSplit)
    assert isinstance(click, ClickSplit)
    own = chosen(len(generate), 0.1)
    assert np.array_equal(np.flatnonzero(~np.isnan(generate.label)), own)
    assert {*click.places.tolist()} == {*generate.places[own].tolist()}
    assert found() == [("generate", 0.02), ("click", pytest.approx(0.003))]
    assert found(pretraining="none") == [("click", 0.01)]
    assert found(transfer="embeddings") == [("generate", 0.02), ("click", 0.01)]


def test_where_embeddings_go_on_alone_the_network_is_fresh(tmp_path: Path) -> None:
    config = replace(SMALL, transfer="embeddings", pretraining_epochs=1)
    generate = replace(stages(config)[0], epochs=1)
    run = fit(replace(SYSTEM, stages=lambda _: (generate,)), config, data(), FitOptions(run=tmp_path, quiet=True))
    assert isinstance(run.module, FieldGenerator)
    assert all(one.grad is None for one in run.module.denoiser.parameters()), "the stage never reached it"
    assert any(one.grad is not None for one in run.module.embedding.parameters())
    assert run.module.first is not None
    assert run.module.generator is run.module.first is not run.module.denoiser


@pytest.mark.long
def test_each_field_s_gain_over_its_frequencies_is_reported() -> None:
    measured = SYSTEM.measure(pretrained(), predict, data().test)
    assert {f"nats_{one.name}" for one in pretrained().embedding.fields} <= measured.keys()
    assert min(measured[f"nats_item_{n}"] for n in range(5)) > 0.8
    scratch = SYSTEM.measure(untrained(), predict, data().test)
    assert scratch["generation"] > measured["generation"] + 1


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model that clients ask."""
    repository = tmp_path_factory.mktemp("repository")
    signatures = SYSTEM.release(untrained(layers=1), SMALL, data())
    assert [one.name for one in signatures] == ["dgenctr_fields", "dgenctr"]
    publish(repository, signatures[-1:], Source(kind="run", name="dgenctr"))
    return repository / "dgenctr"


def test_where_training_knows_no_value_of_the_rows_nothing_is_said_of_their_generation() -> None:
    module = untrained()
    module.embedding.row_of.copy_(module.embedding.offsets.repeat_interleave(module.embedding.cardinalities))
    measured = SYSTEM.measure(module, predict, data().test)
    assert "generation" not in measured
    assert "auc" in measured


def test_abundance_counts_the_directions_of_the_vectors_that_training_met() -> None:
    """As many as the width where they are spread evenly, one where all lie on a line; fields count alike."""
    module = untrained(dim=4)
    rows = module.embedding.rows.weight.detach()
    first = rows[: module.embedding.sizes[0]]
    rows[:] = torch.outer(torch.rand(len(rows)), torch.rand(4))
    assert abundance(module.embedding) == pytest.approx(1)
    first[0] = 100 * torch.randn(4)  # of the unknown user, whom training never met
    first[1:] = torch.eye(4).repeat(NUM_USERS // 4, 1)
    assert abundance(module.embedding) == pytest.approx((4 + 11) / 12)


def test_the_served_graph_answers_at_the_edges_of_ids_and_lengths(published: Path) -> None:
    model = DirectModel.open(published)
    check_edges(model, NUM_USERS, NUM_ITEMS)
    check_negatives(model, request(1, [3, 4, 5]), 1)


def test_the_served_graph_has_the_label_s_head_alone_and_draws_nothing(published: Path) -> None:
    module = untrained(layers=1)
    graph = onnx.load(published / "1" / "model.onnx").graph
    held = {numpy_helper.to_array(one).tobytes() for one in graph.initializer}
    parts = dict(module.denoiser.named_parameters())
    assert parts["label_head.weight"].detach().T.contiguous().numpy().tobytes() in held or (
        parts["label_head.weight"].detach().numpy().tobytes() in held
    )
    for matrix in (parts["field_heads"], *parts["field_heads"]):
        assert matrix.detach().numpy().tobytes() not in held
        assert matrix.detach().T.contiguous().numpy().tobytes() not in held if matrix.dim() == 2 else True
    assert all(one.detach().numpy().tobytes() not in held for one in parts["masks"][:-1])
    drawing = ("Random", "Bernoulli", "Multinomial", "Dropout")
    assert [node.op_type for node in graph.node if node.op_type.startswith(drawing)] == []


@torch.no_grad()
def test_what_is_served_is_the_same_computation_as_the_network_from_scratch() -> None:
    """A serving cost of 1: the same weights by name and shape, and the same answers for them, bit for bit."""
    scratch, batch = untrained(pretraining="none"), data().test.batch(np.arange(20))
    assert not torch.equal(scratch(batch), pretrained()(batch))
    scratch.load_state_dict(pretrained().state_dict())
    assert torch.equal(scratch(batch), pretrained()(batch))


def test_the_likeliest_values_are_those_of_the_full_softmax() -> None:
    batch = data().test.batch(np.arange(20))
    with torch.no_grad():
        top, best, own = Likeliest(pretrained())(batch)
        whole = generated(pretrained(), [8], torch.nan)[0][:20]
        expected = whole * (torch.arange(whole.shape[1]) > 0)
        expected = expected / expected.sum(1, keepdim=True)
    torch.testing.assert_close(best[:, 8, 0], expected.max(1).values, rtol=1e-3, atol=1e-4)
    assert torch.equal(top[:, 8, 0], expected.argmax(1))
    known = pretrained().embedding.known(batch.ids)[:, 8]
    torch.testing.assert_close(own[:, 8], expected.gather(1, known[:, None])[:, 0], rtol=1e-3, atol=1e-4)


def test_an_answer_is_explained_by_the_likeliest_values_of_each_field() -> None:
    served, _ = SYSTEM.release(pretrained(), SMALL, data())

    def infer(model: str, request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert model == "dgenctr_fields"
        inputs = [torch.from_numpy(request[spec.name]) for spec in served.inputs]
        return {spec.name: one.numpy() for spec, one in zip(served.outputs, served.eager(*inputs), strict=True)}

    request = {"user_id": np.array([[3]]), "candidates": np.array([[5, 9]])}
    tables = explained(infer, "dgenctr", data().interactions, request, {"scores": np.array([[0.2, 0.9]])})
    assert [one.title.split(" (")[0] for one in tables] == ["fields of Item 9", "fields of Item 5"]
    rows = {str(row[0]): row for row in tables[0].rows}
    value = data().interactions.items["item_1"][9]
    assert rows["item_1"][1] == str(value)
    assert str(rows["item_1"][3]).startswith(f"{value} 0.9") or str(rows["item_1"][3]).startswith(f"{value} 1.0")
