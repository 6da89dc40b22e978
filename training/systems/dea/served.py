"""DEA's served computation: user ids and packed candidates in, click probabilities out.

What depends on one field, or on one item, alone is a row of a table (see sides.py). Codebooks are absorbed to one score
per row and head, thresholds and fusion are constants. In the first layer the op works out the pairs of two user fields
once per request.

Legend: B requests, C candidates packed over them, F fields = Fu of the user + Fi of the item, D width, L layers,
H heads, s_k rows of codebook k.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kernels.combo_id_attention import Codebooks, Fields, Fusion, coded_salt, combo_id_attention
from training.data.click import ClickData
from training.layers import ragged
from training.layers.id_tables import IdTables
from training.servable import Packed
from training.systems.dea.model import DEA, Layer
from training.systems.dea.sides import FieldRows, of_items


class ServedLayer(nn.Module):
    """A layer's constants: absorbed codebooks, fusion and thresholds. Ids of fields are `coded_ids`."""

    first: Float[Tensor, "S1 H"]
    second: Float[Tensor, "S2 H"]
    salt: Int[Tensor, "2 4 F"]
    mix: Float[Tensor, "3 H"]
    tau: Float[Tensor, "F F"]

    def __init__(self, model: DEA, layer: Layer) -> None:
        super().__init__()
        with torch.no_grad():
            codebooks, fusion = layer.codebooks(model.memory), layer.fusion(model.abundance.deficiency)
        codebooks = codebooks._replace(salt=coded_salt(model.num_fields))
        for name, value in (codebooks._asdict() | fusion._asdict()).items():
            self.register_buffer(name, value)

    def forward(self, users: Fields, items: Fields, ends: Int[Tensor, " B"]) -> Float[Tensor, "C F D"]:
        codebooks = Codebooks(self.first, self.second, self.salt)
        return combo_id_attention(users, items, ends, codebooks, Fusion(self.mix, self.tau))


class Ranker(nn.Module):
    """All of DEA behind users and candidates."""

    def __init__(self, model: DEA, data: ClickData) -> None:
        super().__init__()
        num_users, ids = model.num_request_fields, IdTables(data, model.embedding)
        self.user_ids, self.users = ids.users, FieldRows(model, slice(0, num_users))
        item_fields = FieldRows(model, slice(num_users, len(model.embedding.sizes)))
        self.items = of_items(item_fields, ids.items, with_vectors=len(model.layers) > 1)
        self.layers = nn.ModuleList(ServedLayer(model, layer) for layer in model.layers if isinstance(layer, Layer))
        self.tokens = nn.ModuleList(layer.tokens for layer in model.layers if isinstance(layer, Layer))
        self.network = model.network

    def forward(
        self, user: Int[Tensor, "B W"], candidates: Int[Tensor, " C"], candidate_offsets: Int[Tensor, " B"]
    ) -> Packed:
        """Click probabilities [C]; NaN, never a plausible score, for a negative candidate. `user` as in `IdTables`."""
        # One candidate more, dropped at the end: ORT divides by zero where a batch has none at all.
        candidates = torch.cat([candidates, candidates.new_zeros(1)])
        request = ragged.requests(candidate_offsets, candidates.shape[0])
        users, items = self.users(self.user_ids(user)), self.items(candidates)
        attended = self.layers[0](users.fields, items.fields, candidate_offsets)
        if len(self.layers) > 1:
            vectors = torch.cat([users.vectors.index_select(0, request), items.vectors], dim=1)
            codes = torch.cat([users.codes.index_select(0, request), items.codes], dim=1)
            attended = self.deeper(vectors, attended, codes, users.fields, candidate_offsets)
        share = users.share.index_select(0, request) + items.share
        logits = self.network.finish(share + self.network.first(attended.flatten(1)))
        return (torch.where(candidates >= 0, torch.sigmoid(logits), torch.nan)[:-1],)

    def deeper(
        self,
        vectors: Float[Tensor, "C F D"],
        attended: Float[Tensor, "C F D"],
        codes: Int[Tensor, "C F"],
        users: Fields,
        ends: Int[Tensor, " B"],
    ) -> Float[Tensor, "C F D"]:
        """Layers after the first, where a user's tokens depend on the candidate: all fields are the item's."""
        no_users = Fields(users.tokens[:, :0], users.ids[:, :0])
        for project, layer in zip(self.tokens[1:], self.layers[1:], strict=True):
            attended = attended + layer(no_users, Fields(project(vectors + attended), codes), ends)
        return attended


class Scorer(nn.Module):
    """The same behind the step that reads the users' rows."""

    def __init__(self, model: DEA, data: ClickData) -> None:
        super().__init__()
        self.ranker = Ranker(model, data)

    def forward(
        self, candidates: Int[Tensor, " C"], candidate_offsets: Int[Tensor, " B"], user: Int[Tensor, "B Fu"]
    ) -> Packed:
        """As `Ranker`."""
        return self.ranker(user, candidates, candidate_offsets)
