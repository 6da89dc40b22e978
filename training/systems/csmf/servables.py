"""What CSMF serves beside its task's plain form, and why it answers so.

    <name>_objectives   history [, user_id], items -> parts

`parts` are the scores of items by each objective alone: what alpha weighs. A control with one list for all objectives
is served in the plain form.

Legend: B requests, H history items packed over them, K items, O objectives, D width of vectors, N items.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.asking import Infer, Shown, Tensors
from training.data.retrieval import RetrievalData
from training.interactions import Interactions
from training.layers.items import known
from training.layers.objective_weights import ALPHA, Weighed, weigh
from training.layers.rows import rows
from training.layers.towers import Towers
from training.servable import NO_SCORE, Packed, Servable, Signature, TensorSpec, servable
from training.tasks.retrieval import RETRIEVAL
from training.tasks.retrieval_served import MAX_BATCH_SIZE, Served

PART = "objectives"
ITEMS, PARTS = "items", "parts"


class Parts(Served):
    """Packed histories and items -> scores by objective."""

    vectors: Float[Tensor, "N+1 D"]

    def __init__(self, module: nn.Module, data: RetrievalData) -> None:
        super().__init__(module, data)
        with torch.no_grad():
            self.register_buffer("vectors", cast(Towers, module).items())
        self.count = len(cast(Weighed, module).names)

    def forward(self, history: Int[Tensor, " H"], history_offsets: Int[Tensor, " B"], *rest: Tensor) -> Packed:
        """float32 [B, K, O]; an id that is no item's scores as the unknown one."""
        *users, items = rest
        vectors = self.user_vectors(history, history_offsets, self.beside(tuple(users)))
        found = rows(self.vectors, known(items, self.vectors.shape[0]))  # (B, K, D)
        places = torch.arange(self.count, device=vectors.device)
        one = (places[:, None] == places).to(vectors.dtype)
        asked = [weigh(self.module, vectors, one[place : place + 1]) for place in range(self.count)]
        return (found @ torch.stack(asked, dim=2),)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Listed:
    """Requests of the listing model, each with the items that it lists in place of its weights."""

    listing: Signature

    def __call__(self, batch_size: int, seed: int) -> Packed:
        *asked, alpha = self.listing.example(batch_size, seed)
        items, _ = self.listing.eager(*asked, alpha)
        return *asked, items


def servables(name: str, module: nn.Module, config: object, data: RetrievalData) -> tuple[Signature, ...]:
    """The plain release, and where requests weigh objectives the model that says what each of them is worth."""
    *vectors, last = RETRIEVAL.release(name, module, data)
    if not isinstance(module, Weighed):
        return *vectors, last
    listing = cast(Servable, last)
    module = copy.deepcopy(module).eval()
    items = next(spec for spec in listing.outputs if spec.name == ITEMS)
    exact = Parts(copy.deepcopy(module).double(), data)
    minimum = None if items.mapped else 0
    parts = servable(
        name=f"{name}_{PART}",
        module=Parts(module, data),
        inputs=(*(spec for spec in listing.inputs if spec.name != ALPHA), replace(items, minimum=minimum)),
        outputs=(TensorSpec(name=PARTS, dtype="float32", shape=(*items.shape, len(module.names))),),
        example=_Listed(listing=listing),
        max_batch_size=MAX_BATCH_SIZE,
    )
    return *vectors, _with_reference(parts, exact, data), listing


def _with_reference(parts: Servable, exact: Parts, data: RetrievalData) -> Servable:
    """The reference scores one request after the other, by blocks of the vectors."""
    towers = cast(Towers, exact.module)
    one: Callable[..., Tensor] = exact.user_vectors

    @torch.no_grad()
    def by_objective(history: Tensor, offsets: Tensor, *rest: Tensor) -> Packed:
        *users, items = rest
        vectors, rows = towers.items(), []
        for row, met in enumerate(torch.tensor_split(history, offsets.long()[:-1])):
            end = torch.tensor([len(met)], dtype=torch.int32)
            user = one(met, end, exact.beside(tuple(part[row : row + 1] for part in users)))
            alone = [vectors @ weigh(exact.module, user, alpha[None])[0] for alpha in torch.eye(exact.count).double()]
            rows.append(torch.stack(alone, dim=1)[items[row]])
        return (torch.stack(rows),)

    return replace(parts, reference=by_objective, eager64=torch.no_grad()(exact.forward))


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """One table: what each objective gives each listed item, before the request's weights."""
    if ALPHA not in request:
        return []
    asked = {name: tensor for name, tensor in request.items() if name != ALPHA}
    found = infer(f"{model}_{PART}", {**asked, ITEMS: answer[ITEMS]})[PARTS][0]
    names = [field.name for field in interactions.schema.of("objective", "event")] or ["positives"]
    weights = ", ".join(f"{weight:g} {name}" for name, weight in zip(names, request[ALPHA][0].tolist(), strict=True))
    rows: list[list[object]] = []
    for place, (item, score) in enumerate(zip(answer[ITEMS][0].tolist(), answer["scores"][0].tolist(), strict=True)):
        if score > NO_SCORE:
            rows.append([interactions.titles[interactions.dense("item", item)], item, *map(float, found[place])])
    return [Shown((), f"score by objective; weighed {weights}", ("title", "item", *names), rows)]
