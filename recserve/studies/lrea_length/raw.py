"""Ranking from the raw history of one user: DIN, full softmax attention, and LREA without absorption.

All ways attend in chunks of candidates inside the graph (an ONNX Scan), so that memory does not grow with candidates
times events: 1,000 x 16,384 pairs x 36 units would be 2.4 GB. What depends on the candidate only is folded into one
item table, as in LREA's scorer. The graphs answer one request per run (`max_batch_size` 1).

Legend: C candidates, K candidates of a chunk, L history, D width, H heads, E width of a head, U units.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# The exporter knows this operator; PyTorch has no public name for it.
from torch._higher_order_ops.scan import scan

from training.baselines.din import DIN
from training.data.click import ClickData
from training.layers.columns import Features
from training.layers.items import known
from training.layers.prestored import histories_of, history_specs
from training.servable import Axis, Packed, Servable, TensorSpec
from training.systems.lrea import attention
from training.systems.lrea.model import LREA
from training.systems.lrea.served import UserEncoder

CHUNK = 16
"""Candidates attended to at once; of 1 to 250, what DIN is about fastest with at 128, 2,048 and 16,384 events."""

Attend = Callable[[Tensor], Tensor]
"""Rows [K, ...] of candidates -> their interest [K, D]."""
Over = Callable[[Attend, Tensor], Tensor]
"""How the rows of all candidates are gone through."""


def in_chunks(attend: Attend, rows: Float[Tensor, "C D"]) -> Float[Tensor, "C D"]:
    """`attend` on `CHUNK` rows after the others; the last candidate fills the last chunk up."""
    total = rows.shape[0]
    # Never a single chunk: the exporter would take its axis for a constant.
    first = torch.arange(torch.sym_max((total + CHUNK - 1) // CHUNK, 2)) * CHUNK
    chunks = rows[(first[:, None] + torch.arange(CHUNK)).clamp(max=total - 1)]  # (chunks, K, D)

    def step(carry: Tensor, chunk: Tensor) -> tuple[Tensor, Tensor]:
        return carry.clone(), attend(chunk)

    _, attended = scan(step, torch.zeros(1), chunks)
    # Gathered, not flattened and sliced: the exporter cannot prove that the slice is shorter.
    place = torch.arange(total)
    return attended[place // CHUNK, place % CHUNK]


CANDIDATES = Axis("candidates", least=1)
"""The last candidate fills the last chunk up, so there is one."""


def at_once(attend: Attend, rows: Float[Tensor, "C D"]) -> Float[Tensor, "C D"]:
    """The same without chunks: what the graphs are compared with."""
    return attend(rows)


class RawRanker(nn.Module):
    """One user's history and candidates -> scores; the ways differ in how they attend, and by which rows."""

    attends_by: ClassVar[Literal["target", "query"]] = "query"
    """Rows of candidates that the attention takes: item vectors [C, D] or their queries [C, HE]."""
    table: Float[Tensor, "N DHEK"]
    """What of an item depends on nothing else: its vector, its query, its share of the first layer."""

    def __init__(self, model: LREA) -> None:
        super().__init__()
        self.model = model
        self.encoder = UserEncoder(model, 0)
        with torch.no_grad():
            items = model.tables.items()
            parts = (items, model.query(items), model.tower.of_target(items))
        self.widths = [part.shape[1] for part in parts]
        self.register_buffer("table", torch.cat(parts, dim=1))

    def attender(self, events: Float[Tensor, "1 L D"], mask: Float[Tensor, "1 L"]) -> Attend:
        """What the history says of a chunk of candidates; all of it that no candidate changes is worked out here."""
        raise NotImplementedError

    def rank(self, over: Over, candidates: Int[Tensor, " C"], history: Packed) -> Float[Tensor, " C"]:
        """Scores for one user; `history` is items [1, L], values [1, L], length [1, 1] and the profile [1, P]."""
        items, values, length, ids = history
        rows = nn.functional.embedding(known(candidates, self.model.tables.num_items), self.table)
        target, query, first = rows.split(self.widths, dim=1)
        events, mask = self.encoder.history(items, values, length[:, 0])
        interest = over(self.attender(events, mask), target if self.attends_by == "target" else query)
        of_ids = self.model.tables.profile(Features(ids, events[:, 0, :0], ids[:, :0]))
        profile = self.model.tower.of_profile(of_ids)
        return torch.sigmoid(self.model.tower.finish(interest, target, first + profile))

    def forward(
        self,
        candidates: Int[Tensor, "B C"],
        history_items: Int[Tensor, "B L"],
        history_values: Int[Tensor, "B L"],
        history_length: Int[Tensor, "B 1"],
        profile: Int[Tensor, "B P"],
    ) -> Float[Tensor, "B C"]:
        """Of the first request: the server sends no more than one (`max_batch_size` 1)."""
        history = (history_items[:1], history_values[:1], history_length[:1], profile[:1])
        return self.rank(in_chunks, candidates[0], history).expand(candidates.shape)

    @torch.no_grad()
    def one_by_one(self, candidates: Int[Tensor, "B C"], *history: Tensor) -> Packed:
        """Any number of requests, each by itself and without chunks: the trusted answer."""
        users = zip(*(part.split(1) for part in history), strict=True)
        return (torch.stack([self.rank(at_once, ids, user) for ids, user in zip(candidates, users, strict=True)]),)


class Din(RawRanker):
    """DIN's activation unit, as in `training.baselines.din`, with W_p diag(t) + W_s of a chunk as one matrix."""

    attends_by = "target"

    def __init__(self, model: LREA, network: DIN) -> None:
        super().__init__(model)
        self.network = network

    def attender(self, events: Float[Tensor, "1 L D"], mask: Float[Tensor, "1 L"]) -> Attend:
        network, history = self.network, events[0]
        weighted = mask[0, :, None] * history / mask.sum().clamp(min=1)

        def attend(chunk: Float[Tensor, "K D"]) -> Float[Tensor, "K D"]:
            product = network.of_product.weight.T[:, None, :] * chunk.T[:, :, None]  # (D, K, U)
            mixed = (product + network.of_event.weight.T[:, None, :]).flatten(1)  # (D, KU)
            unit = history @ mixed + network.of_target(chunk).flatten()  # (L, KU)
            weights = network.weight(nn.functional.silu(unit).unflatten(1, (chunk.shape[0], -1)))  # (L, K, 1)
            return weights.squeeze(2).T @ weighted

        return attend


class Softmax(RawRanker):
    """Softmax attention over all events, with LREA's projections and heads."""

    def attender(self, events: Float[Tensor, "1 L D"], mask: Float[Tensor, "1 L"]) -> Attend:
        heads = self.model.config.heads
        keys = attention.split_heads(self.model.key(events), heads)[0].transpose(1, 2)  # (H, E, L)
        values = attention.split_heads(self.model.value(events), heads)[0]  # (H, L, E)
        ignored = (mask[0] - 1) * 1e9

        def attend(chunk: Float[Tensor, "K HE"]) -> Float[Tensor, "K HE"]:
            queries = chunk.unflatten(1, (heads, -1)).transpose(0, 1)  # (H, K, E)
            scores = queries @ keys / keys.shape[1] ** 0.5 + ignored
            # A user without events has no interest; softmax over ignored events alone would be their mean.
            return (torch.softmax(scores, dim=2) @ values).transpose(0, 1).flatten(1) * mask[0, :1]

        return attend


class Unabsorbed(RawRanker):
    """LREA from the history when asked, eqs. (1) to (4) to the letter but for the ReLU, which absorption leaves out."""

    def attender(self, events: Float[Tensor, "1 L D"], mask: Float[Tensor, "1 L"]) -> Attend:
        model, heads = self.model, self.model.config.heads
        down, up = model.matrices(events, mask)
        restored = attention.decompress(up, attention.compress(down, mask[:, :, None] * events), mask)
        keys = attention.split_heads(model.key(restored), heads)[0].transpose(1, 2)  # (H, E, L)
        values = attention.split_heads(model.value(restored), heads)[0]  # (H, L, E)
        valid, count = mask[0], mask.sum().clamp(min=1)

        def attend(chunk: Float[Tensor, "K HE"]) -> Float[Tensor, "K HE"]:
            queries = chunk.unflatten(1, (heads, -1)).transpose(0, 1)  # (H, K, E)
            scores = queries @ keys / keys.shape[1] ** 0.5 + model.bias[:, None, None]
            return ((scores * valid) @ values).transpose(0, 1).flatten(1) / count

        return attend


def raw_servable(name: str, module: RawRanker, data: ClickData) -> Servable:
    """The module as a model whose requests carry the whole history; its examples have few candidates."""
    stored = histories_of(data)
    specs = history_specs(data)
    users = len(stored["user_ids"])

    def example(batch_size: int, seed: int) -> Packed:
        random = np.random.default_rng(seed)
        candidates = torch.from_numpy(
            random.integers(1, module.model.tables.num_items, (batch_size, CHUNK + 1 + batch_size))
        )
        rows = (seed + np.arange(batch_size)) % users
        history = [torch.from_numpy(stored[spec.name][rows]) for spec in specs]
        history[2][1:4] = torch.tensor([[0], [1], [2]])[: max(batch_size - 1, 0)]
        return candidates, *history

    return Servable(
        name=name,
        inputs=(TensorSpec(name="candidates", dtype="int64", shape=(CANDIDATES,), minimum=0), *specs),
        outputs=(TensorSpec(name="scores", dtype="float32", shape=(CANDIDATES,)),),
        example=example,
        eager=module.one_by_one,
        max_batch_size=1,
        module=module.eval(),
    )
