"""MMQ's checks: experts see what they may, the losses are the printed ones."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.training.systems.tokenizer_models import catalogue, items, prepared, train
from training.data.catalogue import CatalogueData, ItemBatch
from training.layers.codebook_report import codebook_metrics
from training.layers.experts import squared_error
from training.layers.tokenizer import catalogue_tokens
from training.loop import predict
from training.systems.mmq import MMQ, SYSTEM, Config
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
    assert SYSTEM.measure(module, predict, data.test)["recon_loss"] == pytest.approx(error, rel=1e-4)
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
