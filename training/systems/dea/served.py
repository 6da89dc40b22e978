"""DEA's served computation: user ids and packed candidates in, click probabilities out.

What depends on one row of the embedding alone is folded into its table: the row's vector, its token of the first layer
and its share of the network's first layer. Codebooks are absorbed to one score per row and head, thresholds and fusion
are constants. In the first layer the op works out the pairs of two user fields once per request.

Legend: B requests, C candidates packed over them, F fields = Fu of the user + Fi of the item, R rows of the embedding,
D width, P width of a token, K hidden units, L layers, H heads, s_k rows of codebook k.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kernels.combo_id_attention import Codebooks, Fields, Fusion, combo_id_attention
from training.data.click import ClickData
from training.layers import ragged
from training.layers.id_tables import IdTables
from training.servable import Packed
from training.systems.dea.model import DEA, Layer


class ServedLayer(nn.Module):
    """A layer's constants: absorbed codebooks, fusion and thresholds."""

    first: Float[Tensor, "S1 H"]
    second: Float[Tensor, "S2 H"]
    salt: Int[Tensor, "2 4 F"]
    mix: Float[Tensor, "3 H"]
    tau: Float[Tensor, "F F"]

    def __init__(self, model: DEA, layer: Layer) -> None:
        super().__init__()
        with torch.no_grad():
            codebooks, fusion = layer.codebooks(model.memory), layer.fusion(model.abundance.deficiency)
        for name, value in (codebooks._asdict() | fusion._asdict()).items():
            self.register_buffer(name, value)

    def forward(self, users: Fields, items: Fields, ends: Int[Tensor, " B"]) -> Float[Tensor, "C F D"]:
        codebooks = Codebooks(self.first, self.second, self.salt)
        return combo_id_attention(users, items, ends, codebooks, Fusion(self.mix, self.tau))


class Side(nn.Module):
    """What the fields of users, or of items, bring along: vectors, tokens, and their share of the network."""

    table: Float[Tensor, "R DPK"]
    offsets: Int[Tensor, " F"]

    def __init__(self, model: DEA, fields: slice) -> None:
        super().__init__()
        layer, network = model.layers[0], model.network
        assert isinstance(layer, Layer)
        by_field = network.first.weight.unflatten(1, (len(model.embedding.sizes), -1))  # (K, F, D)
        with torch.no_grad():
            tables = model.embedding.rows.weight.split(model.embedding.sizes)[fields]
            shares = [rows @ by_field[:, number].T for number, rows in enumerate(tables, fields.start)]
            vectors = torch.cat(tables)
            parts = (vectors, layer.tokens(vectors), torch.cat(shares))
        self.widths = [part.shape[1] for part in parts]
        offsets = model.embedding.offsets[fields]
        self.register_buffer("table", torch.cat(parts, dim=1))
        self.register_buffer("offsets", offsets - offsets[0])

    def forward(self, ids: Int[Tensor, "N F"]) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors [N, F, D], tokens [N, F, P], and the sum of the shares [N, K]; the ids must be known ones."""
        vectors, tokens, shares = nn.functional.embedding(ids + self.offsets, self.table).split(self.widths, dim=2)
        return vectors, tokens, shares.sum(dim=1)


class Ranker(nn.Module):
    """All of DEA behind users and candidates."""

    def __init__(self, model: DEA, data: ClickData) -> None:
        super().__init__()
        num_users = model.num_request_fields
        self.ids = IdTables(data, model.embedding)
        self.users = Side(model, slice(0, num_users))
        self.items = Side(model, slice(num_users, len(model.embedding.sizes)))
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
        user_ids, item_ids = self.ids(user, candidates)
        user_vectors, user_tokens, user_share = self.users(user_ids)
        item_vectors, item_tokens, item_share = self.items(item_ids)
        users, items = Fields(user_tokens, user_ids), Fields(item_tokens, item_ids)
        attended = self.layers[0](users, items, candidate_offsets)
        if len(self.layers) > 1:
            vectors = torch.cat([user_vectors.index_select(0, request), item_vectors], dim=1)
            ids = torch.cat([user_ids.index_select(0, request), item_ids], dim=1)
            attended = self.deeper(vectors, attended, ids, users, candidate_offsets)
        share = user_share.index_select(0, request) + item_share
        logits = self.network.finish(share + self.network.first(attended.flatten(1)))
        return (torch.where(candidates >= 0, torch.sigmoid(logits), torch.nan)[:-1],)

    def deeper(
        self,
        vectors: Float[Tensor, "C F D"],
        attended: Float[Tensor, "C F D"],
        ids: Int[Tensor, "C F"],
        users: Fields,
        ends: Int[Tensor, " B"],
    ) -> Float[Tensor, "C F D"]:
        """Layers after the first, where a user's tokens depend on the candidate: all fields are the item's."""
        no_users = Fields(users.tokens[:, :0], users.ids[:, :0])
        for project, layer in zip(self.tokens[1:], self.layers[1:], strict=True):
            attended = attended + layer(no_users, Fields(project(vectors + attended), ids), ends)
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
