"""What the fields of users, or of items, bring along to DEA's served computation, each in one row of a table.

What depends on one row of the embedding alone is folded into its table: the row's vector, its token of the first layer,
its share of the network's first layer, and its hash codes, as an id that has them without more arithmetic. What depends
on an item alone is joined into one row of that item, where such a table is not too large.

Legend: N rows, F fields of the side, R rows of the embedding, I items with the unknown one, D width, P width of a
token, K hidden units.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from kernels.combo_id_attention import Fields, coded_ids
from training.layers.items import known
from training.layers.rows import rows
from training.systems.dea.model import DEA, Layer

MOST_ELEMENTS = 1 << 26
"""Of a table with one row for each item: 256 MB in fp32."""


class Rows(NamedTuple):
    """What some users, or items, have."""

    vectors: Float[Tensor, "N F D"]
    tokens: Float[Tensor, "N F P"]
    share: Float[Tensor, "N K"]
    """Sum over the fields."""
    codes: Int64[Tensor, "N F"]
    """As `coded_ids`."""

    @property
    def fields(self) -> Fields:
        """Those of the first layer."""
        return Fields(self.tokens, self.codes)


class FieldRows(nn.Module):
    """Field by field."""

    table: Float[Tensor, "R DPK"]
    codes: Int64[Tensor, " R"]
    offsets: Int64[Tensor, " F"]

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
        salts = model.memory.salt[..., fields].split(1, dim=2)
        codes = [
            coded_ids(torch.arange(len(rows))[:, None], salt)[:, 0] for rows, salt in zip(tables, salts, strict=True)
        ]
        self.register_buffer("table", torch.cat(parts, dim=1))
        self.register_buffer("codes", torch.cat(codes))
        self.register_buffer("offsets", offsets - offsets[0])

    def forward(self, ids: Int[Tensor, "N F"]) -> Rows:
        """The ids must be known ones."""
        places = ids + self.offsets
        vectors, tokens, shares = nn.functional.embedding(places, self.table).split(self.widths, dim=2)
        return Rows(vectors, tokens, shares.sum(dim=1), rows(self.codes, places))


class ItemFields(nn.Module):
    """Of items by dense id, field by field."""

    ids: Int64[Tensor, "I F"]

    def __init__(self, rows: FieldRows, ids: Int64[Tensor, "I F"]) -> None:
        """`ids` are the known ones of all items."""
        super().__init__()
        self.rows = rows
        self.register_buffer("ids", ids)

    def forward(self, candidates: Int[Tensor, " N"]) -> Rows:
        """An id that nobody has is the unknown item's."""
        return self.rows(self.ids.index_select(0, known(candidates, self.ids.shape[0])))


class ItemRows(nn.Module):
    """Of items by dense id: one row has all that an item's fields have, so that nothing of it is computed in a
    request."""

    table: Float[Tensor, "I FPKFD"]
    codes: Int64[Tensor, "I F"]

    def __init__(self, rows: Rows) -> None:
        """`rows` are those of all items, with vectors without elements (D = 0) where no layer reads them."""
        super().__init__()
        parts = (rows.tokens.flatten(1), rows.share, rows.vectors.flatten(1))
        self.widths = [part.shape[1] for part in parts]
        self.register_buffer("table", torch.cat(parts, dim=1))
        self.register_buffer("codes", rows.codes)

    def forward(self, candidates: Int[Tensor, " N"]) -> Rows:
        """As `ItemFields`."""
        items, fields = known(candidates, self.table.shape[0]), self.codes.shape[1]
        tokens, share, vectors = self.table.index_select(0, items).split(self.widths, dim=1)
        tokens = tokens.unflatten(1, (fields, -1))
        vectors = vectors.unflatten(1, (fields, -1)) if self.widths[2] else tokens[:, :, :0]
        return Rows(vectors, tokens, share, self.codes.index_select(0, items))


def of_items(fields: FieldRows, ids: Int64[Tensor, "I F"], with_vectors: bool) -> ItemFields | ItemRows:
    """The items whose known ids these are: joined, unless that were more than `MOST_ELEMENTS`."""
    vector, token, share = fields.widths
    width = ids.shape[1] * (token + with_vectors * vector) + share
    if len(ids) * width > MOST_ELEMENTS:
        return ItemFields(fields, ids)
    rows = fields(ids)
    return ItemRows(rows if with_vectors else rows._replace(vectors=rows.vectors[:, :, :0]))
