"""What is timed: each base as it was trained, the same base run once per path, and MATT as it is served."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from export.renaming import renamed
from training.data.fields import FieldData
from training.layers import ragged
from training.layers.fields import FieldModel
from training.layers.requests import CANDIDATES, OFFSETS, SCORES, USER_ID, IdTables, Requests
from training.registry import system
from training.servable import Servable, Signature, servable
from training.systems.matt import Matt


class Base(nn.Module):
    """One forward of the base model per candidate, as it was trained: nothing folded, nothing shared."""

    def __init__(self, base: FieldModel, data: FieldData) -> None:
        super().__init__()
        self.base, self.ids = base, IdTables(data, base.embedding)

    def forward(
        self, user_id: Int[Tensor, "B 1"], candidates: Int[Tensor, " C"], candidate_offsets: Int[Tensor, " B"]
    ) -> Float[Tensor, " C"]:
        candidates = torch.cat([candidates, candidates.new_zeros(1)])
        request = ragged.requests(candidate_offsets, candidates.shape[0])
        users, items = self.ids(user_id[:, 0], candidates)
        logits = self.base.logits(torch.cat([users.index_select(0, request), items], dim=1))
        return torch.sigmoid(logits)[:-1]


def base_name(base: str) -> str:
    return f"{base}_base"


def matt_name(base: str, paths: int) -> str:
    return f"matt_{base}_{paths}"


def build(base: str, paths: Sequence[int], data: FieldData) -> tuple[Signature, ...]:
    """The base and MATT around it at each number of paths, untrained: no time depends on the weights."""
    chosen = system(f"matt_{base}")
    assert chosen.servables is not None
    signatures: list[Signature] = []
    state = None
    for count in paths:
        config = chosen.config(paths=count)
        torch.manual_seed(0)
        matt = chosen.build(config, data.schema)
        assert isinstance(matt, Matt)
        if state is None:
            chosen.prepare(matt, data)
            state = matt.state_dict()
            signatures.append(_base(base, matt.base.eval(), data))
        matt.load_state_dict(state)
        release = chosen.servables(matt.eval(), config, data)
        new = matt_name(base, count)
        signatures += renamed(release, {one.name: one.name.replace(chosen.name, new, 1) for one in release})
    return tuple(signatures)


def _base(name: str, base: FieldModel, data: FieldData) -> Servable:
    return servable(
        name=base_name(name),
        module=Base(base, data),
        inputs=(USER_ID, CANDIDATES, OFFSETS),
        outputs=(SCORES,),
        example=Requests(user_ids=data.user_ids, num_items=len(data.item_rows) - 1),
        max_batch_size=16,
    )
