"""MMQ's second stage: the task reaches the tokenizer, its loss is the printed one, behaviour changes ids."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.systems.tokenizer_models import catalogue, prepared, train
from tests.training.walks import interactions, wanted
from training.data.catalogue import CatalogueData
from training.interactions import Content
from training.layers.quantiser import weigh
from training.layers.tokenizer import catalogue_tokens
from training.loop import predict
from training.systems.mmq import MMQ, SYSTEM, Config, behaviour, stages
from training.systems.mmq.behaviour import SessionSplit, Task, behaviour_loss, evaluate, packed_order, view
from training.tasks.semantic_ids import SEMANTIC_IDS

SHARED, TEXT, GRAPH = slice(0, 2), slice(2, 4), slice(4, 6)


@pytest.fixture(scope="module")
def data() -> CatalogueData:
    return catalogue(SYSTEM)


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


def test_packed_order_is_that_of_a_packed_sequence() -> None:
    length = torch.tensor([2, 4, 1, 4])
    numbers = torch.arange(16).view(4, 4)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        numbers[:, :, None], length, batch_first=True, enforce_sorted=False
    )
    assert packed_order(length).tolist() == packed.data[:, 0].tolist()


@pytest.mark.long
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

    def walk() -> list[int]:
        items = [random.integers(60)]
        while len(items) < 6:
            of_next_kind = np.flatnonzero(kind == group[items[-1]])
            items.append(random.choice(np.setdiff1d(of_next_kind, items)))
        return [int(item) + 1 for item in items]

    content = Content(vectors(384), vectors(16))
    walks = [walk() for _ in range(1500)]
    return view(SEMANTIC_IDS.view(interactions(walks, content=content), wanted(max_length=6)))


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
