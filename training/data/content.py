"""What items are, out of their attributes: a category of each, and vectors as a second modality beside text.

Our design throughout: the papers' second modality is an image, and these vectors are none. Attributes are pairs
(item, attribute); what an attribute is, the data set says: a product's attribute, a film's fact in a knowledge graph.

Axes: N items, F attributes, G width of the vectors.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64

from training.schema import Field, Schema

GRAPH_WIDTH = 128
"""Width of the vectors of every data set; the last ones are zeros where there are fewer attributes or items."""
FREQUENT_SHARE = 0.01
"""An attribute makes a category where at least this share of the items holds it."""
_MIN_ITEMS = 2
_MIN_NORM = 1e-3


class Attributes(NamedTuple):
    """Which item holds which attribute, as pairs E, each once."""

    item: Int64[np.ndarray, " E"]
    """1 to N."""
    attribute: Int64[np.ndarray, " E"]
    """From 0."""


def with_vectors(schema: Schema, widths: Mapping[str, int]) -> Schema:
    """The fields of a data set, and the items' vectors that a view adds to them: name -> width."""
    made = (Field(name=name, role="item", kind="vector", uses=(), width=width) for name, width in widths.items())
    return Schema(dataset=schema.dataset, fields=(*schema.fields, *made))


def categories(held: Attributes, num_items: int) -> Int64[np.ndarray, " N+1"]:
    """One category of each item, 0 = unknown: its rarest attribute among those that at least 1 % of the items hold.

    The rarest says the most (of "Skin Care" and "Serums", the second), the bound keeps categories large.
    Of equally rare ones the lower attribute counts. Categories are numbered from 1 in the order of the attributes.
    An item that holds no frequent attribute is unknown. Our design: the papers' data has one category an item.
    """
    counts = np.bincount(held.attribute, minlength=1)
    frequent = counts >= FREQUENT_SHARE * num_items
    usable = frequent[held.attribute]
    item, attribute = held.item[usable], held.attribute[usable]
    order = np.lexsort((attribute, counts[attribute], item))
    first_items, first = np.unique(item[order], return_index=True)
    chosen = attribute[order][first]
    result = np.zeros(num_items + 1, np.int64)
    result[first_items] = 1 + np.unique(chosen, return_inverse=True)[1]
    return result


def attribute_vectors(held: Attributes, num_items: int) -> Float32[np.ndarray, "N+1 128"]:
    """TF-IDF of the attributes, reduced by a truncated SVD, rows of norm 1.

    Zeros for item 0, for items without any, and for the few whose attributes have no part in the directions kept.
    Term frequencies are 1, as an item holds an attribute or not; the weight is ln(N / items that hold it). Attributes
    of a single item tell it from all others and say nothing else, and are left out.
    """
    matrix = tf_idf(held, num_items)
    described = np.flatnonzero(matrix.any(axis=1))
    reduced = truncated_svd(matrix[described], min(GRAPH_WIDTH, matrix.shape[1], len(described)))
    vectors = np.zeros((num_items + 1, GRAPH_WIDTH), np.float32)
    vectors[1 + described, : reduced.shape[1]] = unit_rows(reduced)
    return vectors


def unit_rows(matrix: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N F"]:
    """Rows of norm 1; zeros where the norm is at most 0.001, for what is left there is rounding."""
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.where(norms > _MIN_NORM, matrix / np.maximum(norms, _MIN_NORM), 0)


def tf_idf(held: Attributes, num_items: int) -> Float32[np.ndarray, "N F"]:
    """The attributes that at least two items hold, weighted, rows of norm 1 (zeros for an item without any)."""
    counts = np.bincount(held.attribute, minlength=1)
    kept = counts >= _MIN_ITEMS
    column = np.cumsum(kept) - 1
    usable = kept[held.attribute]
    item, attribute = held.item[usable] - 1, held.attribute[usable]
    matrix = np.zeros((num_items, int(kept.sum())), np.float32)
    matrix[item, column[attribute]] = np.log(num_items / counts[attribute])
    return unit_rows(matrix)


def truncated_svd(matrix: Float[np.ndarray, "N F"], width: int) -> Float[np.ndarray, "N G"]:
    """U S of the `width` largest singular values, largest first, from the eigenvectors of the smaller Gram matrix.

    The sign of a column is such that its entry of largest magnitude is positive.
    """
    rows, columns = matrix.shape
    if rows <= columns:
        values, left = np.linalg.eigh((matrix @ matrix.T).astype(np.float64))
        reduced = left[:, ::-1][:, :width] * np.sqrt(np.maximum(values[::-1][:width], 0.0))
    else:
        _, right = np.linalg.eigh((matrix.T @ matrix).astype(np.float64))
        reduced = matrix @ right[:, ::-1][:, :width].astype(matrix.dtype)
    largest = np.take_along_axis(reduced, np.abs(reduced).argmax(axis=0)[None], axis=0)
    return (reduced * np.where(largest < 0, -1, 1)).astype(matrix.dtype)
