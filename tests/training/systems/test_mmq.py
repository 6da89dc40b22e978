"""MMQ's checks: experts see what they may, the losses are the printed ones, behaviour changes ids."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.systems.tokenizer_models import catalogue, items, prepared, train
from training.data.catalogue import CatalogueData, ItemBatch
from training.data.sequences import Content, leave_one_out
from training.layers.codebook_report import codebook_metrics
from training.layers.experts import squared_error
from training.layers.quantiser import weigh
from training.layers.tokenizer import catalogue_tokens
from training.loop import predict
from training.systems.mmq import MMQ, SYSTEM, Config, behaviour, stages
from training.systems.mmq.behaviour import SessionSplit, Task, behaviour_loss, evaluate, packed_order, view
from training.systems.mmq.content import content_loss

SHARED, TEXT, GRAPH = slice(0, 2), slice(2, 4), slice(4, 6)


@pytest.fixture(scope="module")
def data() -> CatalogueData:
    return catalogue(SYSTEM)


def codes_of(module: Any, batch: ItemBatch) -> torch.Tensor:
    return module.double().tokens(ItemBatch(batch.item, *(part.double() for part in batch[1:]))).codes


def swapped(batch: ItemBatch, name: str) -> ItemBatch:
    """Another item's vector in that modality, and longer."""
    return batch._replace(**{name: 1.5 * getattr(batch, name).roll(1, 0)})


@pytest.mark.parametrize(("changed", "own", "other"), [("text", TEXT, GRAPH), ("graph", GRAPH, TEXT)])
def test_shared_ids_follow_both_modalities_specific_ones_their_own(
    data: CatalogueData, changed: str, own: slice, other: slice
) -> None:
    module, batch = prepared(SYSTEM, data), items(data)
    module.double()
    before, after = codes_of(module, batch), codes_of(module, swapped(batch, changed))
    assert torch.equal(before[:, other], after[:, other])
    assert (before[:, SHARED] != after[:, SHARED]).any()
    assert (before[:, own] != after[:, own]).any()
    latents = [
        module.latents(ItemBatch(one.item, *(p.double() for p in one[1:]))) for one in (batch, swapped(batch, changed))
    ]
    assert torch.equal(latents[0][:, other], latents[1][:, other])


def test_gates_sum_to_one_in_each_modality_and_shared_experts_have_none(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data)
    gates = module.gates(items(data))
    assert (gates[:, SHARED] == 1).all()
    torch.testing.assert_close(gates[:, TEXT].sum(1), torch.ones(60))
    torch.testing.assert_close(gates[:, GRAPH].sum(1), torch.ones(60))
    names = {name.split(".")[0] for name, _ in module.named_parameters()}
    assert {name for name in names if name.endswith("gate")} == {"text_gate", "graph_gate"}
    assert (module.text_gate[2].out_features, module.graph_gate[2].out_features) == (2, 2)


def opened(module: MMQ) -> MMQ:
    """With gates that are far from even, and not the same from item to item."""
    with torch.no_grad():
        for name in ("text_gate", "graph_gate"):
            module.get_parameter(f"{name}.2.weight").normal_(std=20.0)
    return module


def test_gates_are_those_of_the_item_s_own_modality(data: CatalogueData) -> None:
    module, batch = opened(prepared(SYSTEM, data)), items(data)
    gates = module.gates(batch)
    torch.testing.assert_close(gates[:, TEXT], torch.softmax(module.text_gate(batch.text), dim=1))
    torch.testing.assert_close(gates[:, GRAPH], torch.softmax(module.graph_gate(batch.graph), dim=1))
    assert (gates[:, [2, 4]].std(0) > 0.1).all()
    assert torch.equal(module.encode(batch).gates, gates)


def gated(module: MMQ, batch: ItemBatch) -> torch.Tensor:
    """Item by item and position by position: words times gates, summed."""
    gates, words = module.gates(batch), module.encode(batch).chosen.words
    return torch.stack(
        [torch.stack([gates[row, p] * words[row, p] for p in range(6)]).sum(0) for row in range(len(gates))]
    )


def test_what_is_decoded_and_judged_is_the_gated_sum_of_the_words(data: CatalogueData) -> None:
    module, batch = opened(prepared(SYSTEM, data)).eval(), items(data)
    decoded, target = module.decoder(gated(module, batch)), torch.cat([batch.text, batch.graph], dim=1)
    torch.testing.assert_close(module.tokens(batch).decoded, decoded)
    error = (target - decoded).square().sum(1).mean().item()
    assert evaluate(module, predict, of_users(data))["recon_loss"] == pytest.approx(error, rel=1e-4)
    assert content_loss(module, batch, 0.0)[1]["recon"].item() == pytest.approx(error, rel=1e-4)


def test_the_auxiliary_losses_are_those_of_each_modality_s_gated_words(data: CatalogueData) -> None:
    module, batch = opened(prepared(SYSTEM, data)), items(data)
    gates, words = module.gates(batch), module.encode(batch).chosen.words
    parts = [(gates[:, own, None] * words[:, own]).sum(1) for own in (TEXT, GRAPH)]
    of_text = squared_error(batch.text, module.text_decoder(parts[0]))
    of_graph = squared_error(batch.graph, module.graph_decoder(parts[1]))
    torch.testing.assert_close(module.reconstruct(batch, module.encode(batch)).aux, of_text + of_graph)


def test_the_system_chooses_words_by_cosine_unless_told_otherwise(data: CatalogueData) -> None:
    for metric, blind in (("cosine", True), ("l2", False)):
        module = prepared(SYSTEM, data, **({} if blind else {"metric": metric}))
        latents = module.latents(items(data))
        longer = latents * torch.linspace(0.1, 3.0, len(latents))[:, None, None]
        assert torch.equal(module.codebooks(longer).codes, module.codebooks(latents).codes) == blind
        longer_words = deepcopy(module)
        with torch.no_grad():
            longer_words.codebooks.words.mul_(torch.linspace(0.1, 3.0, 12)[None, :, None])
        same = torch.equal(longer_words.encode(items(data)).chosen.codes, module.encode(items(data)).chosen.codes)
        assert same == blind


def test_the_content_loss_has_the_printed_weights(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data)
    assert (module.config.recon_weight, module.config.aux_weight, module.config.orthogonality) == (12.0, 10.0, 0.005)
    value, parts = content_loss(module, items(data), 0.0)
    expected = 12 * parts["recon"] + 10 * parts["aux"] + 0.005 * parts["ortho"] + module.config.vq_weight * parts["vq"]
    assert value.item() == pytest.approx(float(expected), rel=1e-6)


def test_auxiliary_decoders_read_only_their_modality_s_own_experts(data: CatalogueData) -> None:
    module, batch = prepared(SYSTEM, data), items(data)
    encoded = module.encode(batch)
    words = encoded.chosen.words.detach().clone()
    encoded = encoded._replace(chosen=encoded.chosen._replace(words=words.requires_grad_()))
    module.config = replace(module.config, recon_ste="value")
    encoded = encoded._replace(latents=encoded.latents.detach().requires_grad_())
    module.reconstruct(batch, encoded).aux.backward()
    assert encoded.latents.grad is not None
    assert not encoded.latents.grad[:, SHARED].any()
    assert encoded.latents.grad[:, TEXT].any()
    assert encoded.latents.grad[:, GRAPH].any()


def test_the_printed_form_moves_no_word_and_the_index_form_moves_all(data: CatalogueData) -> None:
    for ste, moved in (("value", False), ("index", True)):
        module = prepared(SYSTEM, data, recon_ste=ste, vq_weight=0.0)
        content_loss(module, items(data), 0.0)[0].backward()
        gradient = module.codebooks.words.grad
        assert (gradient is not None and bool((gradient.abs().sum(-1) > 0).all())) == moved
        assert moved or gradient is None or not gradient.any()
        assert module.shared.first.grad.any()


def test_both_forms_decode_the_same(data: CatalogueData) -> None:
    module, batch = prepared(SYSTEM, data), items(data)
    encoded = module.encode(batch)
    index = module.reconstruct(batch, encoded)
    module.config = replace(module.config, recon_ste="value")
    value = module.reconstruct(batch, encoded)
    torch.testing.assert_close(index.recon, value.recon, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(index.aux, value.aux, rtol=1e-5, atol=1e-6)


def test_the_printed_estimator_gives_gates_the_gradient_of_the_latents(data: CatalogueData) -> None:
    """z + sg(z_q - z), z the gated sum: what a gate weighs on the way back are latents."""
    module, batch = prepared(SYSTEM, data, recon_ste="value"), items(data)
    encoded = module.encode(batch)
    gates = encoded.gates.detach().requires_grad_()
    module.reconstruct(batch, encoded._replace(gates=gates)).recon.backward()
    summed = (gates[:, :, None] * encoded.chosen.words).sum(1).detach().requires_grad_()
    squared_error(torch.cat([batch.text, batch.graph], dim=1), module.decoder(summed)).backward()
    torch.testing.assert_close(gates.grad, torch.einsum("bd,bpd->bp", summed.grad, encoded.latents))


def test_the_task_s_gradient_reaches_experts_and_all_words_unless_the_index_is_detached(data: CatalogueData) -> None:
    batch = data.sequences.train.batch(np.arange(32))
    for detached in (False, True):
        module = prepared(SYSTEM, data, behaviour_recon=0.0, orthogonality=0.0)
        if detached:
            module.index = lambda chosen: torch.nn.functional.one_hot(chosen.codes, 12).float()
        behaviour_loss(module, batch, 0.9)[0].backward()
        words, expert = module.codebooks.words.grad, module.of_text.first.grad
        if detached:
            assert not any(grad is not None and grad.any() for grad in (words, expert))
        else:
            assert (words.abs().sum(-1) > 0).all()
            assert expert.any()


def test_the_tokenizer_stands_still_at_first_and_then_moves_slowly(data: CatalogueData) -> None:
    batch = data.sequences.train.batch(np.arange(32))
    module = prepared(SYSTEM, data)
    behaviour_loss(module, batch, 0.0)[0].backward()
    assert all(parameter.grad is None for parameter in module.tokenizer_parameters())
    assert all(parameter.grad is not None for parameter in module.recommender.parameters())
    content, behaviour = stages(module.config)
    assert behaviour.groups[0].learning_rate == pytest.approx(0.1 * behaviour.learning_rate)
    moved = {id(parameter) for parameter in behaviour.groups[0].parameters(module)}
    assert moved == {id(parameter) for parameter in content.parameters(module)}
    assert not moved & {id(parameter) for parameter in module.recommender.parameters()}


def test_the_task_s_loss_of_a_user_does_not_depend_on_the_batch(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data).eval()
    batch = data.sequences.test.batch(np.arange(20))
    codes, _ = catalogue_tokens(module, data.vectors)
    per_user = Task(module, codes)(batch)
    alone = torch.cat([Task(module, codes)(data.sequences.test.batch(np.array([row]))) for row in range(20)])
    torch.testing.assert_close(per_user, alone)


def of_history(module: MMQ, codes: torch.Tensor, history: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the next item's ids after each place of one user's history, mean over the positions."""
    recommender = module.recommender
    items = torch.stack([recommender.table[torch.arange(6), codes[item]].sum(0) for item in history])
    logits = recommender.heads(recommender.gru(items[None])[0][0]).unflatten(1, (6, -1))
    losses = [
        torch.stack([-logits[place, p].log_softmax(0)[codes[target, p]] for p in range(6)]).mean()
        for place, target in enumerate(targets)
    ]
    return torch.stack(losses)


def test_the_published_loss_of_the_task_is_that_of_the_item_that_each_user_chose_last(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data).eval()
    module.keep_content_codes()
    codes, _ = catalogue_tokens(module, data.vectors)
    with torch.no_grad():
        module.recommender.heads.weight.mul_(5)
        losses = [
            of_history(module, codes, torch.from_numpy(sequence[:-1]), torch.from_numpy(sequence[1:]))[-1]
            for sequence in data.sequences.sequences
        ]
    found = evaluate(module, predict, of_users(data))["task_loss"]
    assert found == pytest.approx(torch.stack(losses).mean().item(), rel=1e-4)


@pytest.mark.parametrize(("done", "weight"), [(0.1, 0.0), (0.9, 1.0)])
def test_the_second_stage_s_loss_has_the_printed_weights(data: CatalogueData, done: float, weight: float) -> None:
    assert (Config().behaviour_recon, Config().orthogonality) == (0.5, 0.005)
    module, batch = prepared(SYSTEM, data, orthogonality=3.0), data.sequences.train.batch(np.arange(12))
    codes, _ = catalogue_tokens(module, data.vectors)
    histories = [(batch.items[user, :length], batch.targets[user, :length]) for user, length in enumerate(batch.length)]
    with torch.no_grad():
        task = torch.cat([of_history(module, codes, *history) for history in histories]).mean().item()
        value, logged = behaviour_loss(module, batch, done)
        ids = torch.cat([batch.items, batch.targets]).unique()
        content = module.content_of(ids)
        recon, aux = module.reconstruct(content, module.encode(content))
        rest = 0.5 * (recon + aux) + 3.0 * module.orthogonality()
    assert logged["task"].item() == pytest.approx(task, rel=1e-4)
    assert value.item() == pytest.approx(task + weight * float(rest), rel=1e-4)


def test_the_straight_through_has_the_configured_temperature(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data, temperature=0.4)
    chosen = module.encode(items(data)).chosen
    scores, weights = chosen.scores.detach().requires_grad_(), torch.randn_like(chosen.scores)
    found, expected = (
        torch.autograd.grad((one * weights).sum(), scores)[0]
        for one in (module.index(chosen._replace(scores=scores)), torch.softmax(scores / 0.4, dim=-1))
    )
    torch.testing.assert_close(found, expected)


def test_orthogonality_is_that_of_all_three_groups(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data)
    alone = [group.orthogonality() for group in (module.shared, module.of_text, module.of_graph)]
    assert all(one > 0 for one in alone)
    torch.testing.assert_close(module.orthogonality(), torch.stack(alone).sum())


def test_packed_order_is_that_of_a_packed_sequence() -> None:
    length = torch.tensor([2, 4, 1, 4])
    numbers = torch.arange(16).view(4, 4)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        numbers[:, :, None], length, batch_first=True, enforce_sorted=False
    )
    assert packed_order(length).tolist() == packed.data[:, 0].tolist()


def test_behaviour_against_content_lowers_the_task_s_loss_changes_ids_and_hardly_costs_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Content is clear about an item's kind, faint about its group; a user's next kind is the group of the item before.

    The ids also change, and the loss falls, by more training on content alone: what counts is the gap to a tokenizer
    that the task does not reach.
    """
    data = catalogue_of_groups()
    pretrained = prepared(SYSTEM, data, words=6, hidden=32, batch_size=57)
    train(SYSTEM, pretrained, data, 300)
    tuned, frozen = (fine_tuned(pretrained, data, share) for share in (0.1, 1.0))
    monkeypatch.setattr(behaviour, "weigh", lambda index, table: weigh(index.detach(), table))
    unreached = fine_tuned(pretrained, data, 0.1)
    assert tuned["task_loss"] < 0.8 * unreached["task_loss"]
    assert tuned["task_loss"] < 0.6 * frozen["task_loss"]
    assert tuned["churn"] > 0
    assert frozen["churn"] == 0
    assert tuned["recon_loss"] < 1.1 * frozen["recon_loss"]


def catalogue_of_groups() -> CatalogueData:
    random = np.random.default_rng(0)
    kind, group = np.arange(60) % 6, np.arange(60) // 10

    def vectors(width: int) -> np.ndarray:
        of_kind, of_group = random.normal(size=(2, 6, width))
        made = of_kind[kind] + 0.3 * of_group[group]
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return np.concatenate([np.zeros((1, width)), made]).astype(np.float32)

    def sequence() -> np.ndarray:
        items = [random.integers(60)]
        while len(items) < 6:
            of_next_kind = np.flatnonzero(kind == group[items[-1]])
            items.append(random.choice(np.setdiff1d(of_next_kind, items)))
        return 1 + np.array(items)

    content = Content(vectors(384), vectors(16))
    sequences = leave_one_out(
        dataset="groups",
        user_ids=np.arange(1, 1501),
        sequences=[sequence() for _ in range(1500)],
        categories=np.append(0, 1 + kind),
        titles={},
        max_length=6,
        load_content=lambda: content,
    )
    return view(sequences)


def fine_tuned(pretrained: MMQ, data: CatalogueData, frozen_share: float) -> dict[str, float]:
    """The second stage; what evaluation says of all items and of the held-out choices."""
    module = deepcopy(pretrained).train()
    module.config = replace(module.config, frozen_share=frozen_share)
    own = [
        {"params": module.tokenizer_parameters(), "lr": 2e-3},
        {"params": list(module.recommender.parameters()), "lr": 1e-2},
    ]
    torch.manual_seed(0)
    optimizer, random = torch.optim.AdamW(own), np.random.default_rng(0)
    for step in range(200):
        batch = data.sequences.train.batch(random.permutation(len(data.sequences.train))[:64])
        loss, _ = behaviour_loss(module, batch, step / 200)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return evaluate(module.eval(), predict, of_users(data))


def of_users(data: CatalogueData) -> SessionSplit:
    assert isinstance(data.test, SessionSplit)
    return data.test


def test_churn_counts_items_with_any_changed_id(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data).eval()
    assert "churn" not in evaluate(module, predict, of_users(data))
    module.keep_content_codes()
    assert evaluate(module, predict, of_users(data))["churn"] == 0
    module.content_codes[[3, 9, 12], 2] += 1
    assert evaluate(module, predict, of_users(data))["churn"] == pytest.approx(3 / 60)


def test_the_ids_that_content_alone_gave_are_noted_once(data: CatalogueData) -> None:
    module = prepared(SYSTEM, data)
    behaviour_loss(module, data.sequences.train.batch(np.arange(4)), 0.9)
    noted = module.content_codes.clone()
    with torch.no_grad():
        module.codebooks.words.copy_(torch.randn_like(module.codebooks.words))
    behaviour_loss(module, data.sequences.train.batch(np.arange(4)), 0.9)
    assert torch.equal(module.content_codes, noted)
    assert not torch.equal(catalogue_tokens(module, data.vectors)[0], noted)


def test_without_orthogonality_equal_experts_stay_equal(data: CatalogueData) -> None:
    """Two experts that start alike waste a codebook; the loss drives them apart."""
    found = {}
    for weight in (0.0, 5.0):
        module = prepared(SYSTEM, data, orthogonality=weight, batch_size=57)
        with torch.no_grad():
            for group in (module.shared, module.of_text, module.of_graph):
                for part in group.parameters():
                    part[1] = part[0] + 1e-3 * torch.randn_like(part[0])
            for gate in (module.text_gate, module.graph_gate):
                gate[2].weight.zero_()
                gate[2].bias.zero_()
            module.codebooks.words[1::2] = module.codebooks.words[::2]
        train(SYSTEM, module, data, 30)
        codes, _ = catalogue_tokens(module, data.vectors)
        found[weight] = (module.orthogonality().item(), codebook_metrics(codes[1:].numpy(), 12)["collision_rate"])
    assert found[5.0][0] < 0.5 * found[0.0][0]
    assert found[5.0][1] <= found[0.0][1]


def test_a_group_without_experts_is_refused() -> None:
    with pytest.raises(ValueError, match="text is 0"):
        Config(text=0)
