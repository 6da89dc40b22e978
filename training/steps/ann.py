"""The step of an ensemble that finds items in an index, as a signature; and the index itself.

Up to `EXACT_ITEMS` a graph with one product and TopK answers the same inputs (`training.layers.item_index`).

Legend: B requests, E ids packed over them, N items, D width of vectors, K listed items.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import faiss
import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from serving.ann_index import INDEX_FILE, VALUES, VECTORS, VECTORS_FILE, AnnIndex, Facts, Listed, recall, write_facts
from serving.steps.ann import ITEMS, NO_SCORE, ONLY, SCORES, VECTOR, narrowed
from training.servable import Packed, StepServable, TensorSpec

KIND = "ann"
EXACT_ITEMS = 200_000
"""Items up to which lists are exact, by a product with all of them that takes some milliseconds of one thread, and less
where requests are answered together. An index takes less from some tens of thousands of items on where vectors are
clustered, and where they are not it may take more with a million (`recserve study ann`)."""
LEAST_RECALL = 0.95
_WANTED_RECALL = 0.99
"""Lists are added to those that are looked into until so much is found."""
_PER_LIST = 39
"""Vectors that faiss wants for each inverted list."""
_TRAINED_ON = 64
"""Vectors of each list that it is trained on at most."""
_ASKED = 256
"""Users whose lists measure the recall."""


def ann(  # noqa: PLR0913 - what an index is made of
    name: str,
    vectors: np.ndarray,
    values: Mapping[str, np.ndarray],
    top: int,
    inputs: tuple[TensorSpec, ...],
    items: TensorSpec,
    example: Callable[[int, int], Packed],
) -> StepServable:
    """Lists of item vectors float32 [N + 1, D]: `items` [K], best first, 0 where there are no more, and `scores` [K].

    `inputs` are `vector` [D], tensors of ids that are left out, and `only_<field>` [1] for each of `values`, int64
    [N + 1, V]. Raises ValueError where too little of the exact lists of `example` is found.
    """
    index = build(vectors)
    requests = _requests(inputs, example(_ASKED, 1))
    nprobe, met = _probed(index, vectors, dict(values), top, requests)
    answering = AnnIndex(index, vectors, dict(values), nprobe)

    def eager(*tensors: Tensor) -> Packed:
        asked = _requests(inputs, tensors)
        return _rows([answering.best(one[VECTOR][0], top, *narrowed(one)) for one in asked], top)

    def write(folder: Path, asks: Mapping[str, str]) -> None:
        faiss.write_index(index, str(folder / INDEX_FILE))
        save_file({VECTORS: vectors, **{VALUES + key: array for key, array in values.items()}}, folder / VECTORS_FILE)
        facts = Facts(
            factory=factory_of(len(vectors) - 1),
            nprobe=nprobe,
            recall=met,
            least_recall=LEAST_RECALL,
            top=top,
            rule=f"{len(vectors) - 1} items are more than {EXACT_ITEMS}",
            faiss=faiss.__version__,
            sha256=hashlib.sha256((folder / INDEX_FILE).read_bytes()).hexdigest(),
        )
        write_facts(folder, facts)

    return StepServable(
        name=name,
        inputs=inputs,
        outputs=(items, TensorSpec(name=SCORES, dtype="float32", shape=(top,))),
        example=example,
        eager=eager,
        kind=KIND,
        gives_ids=True,
        write=write,
    )


def factory_of(num_items: int) -> str:
    """As faiss names it: inverted lists, about four times the root of the number of items, one byte for each number."""
    lists = 2 ** round(np.log2(4 * np.sqrt(num_items)))
    return f"IVF{max(1, min(lists, num_items // _PER_LIST))},SQ8"


def build(vectors: np.ndarray) -> faiss.Index:
    """An index of `vectors[1:]`, float32 [N, D], by inner product; the same every time."""
    faiss.omp_set_num_threads(1)
    held = np.ascontiguousarray(vectors[1:], np.float32)
    index = faiss.index_factory(held.shape[1], factory_of(len(held)), faiss.METRIC_INNER_PRODUCT)
    most = max(1, _TRAINED_ON * faiss.extract_index_ivf(index).nlist)
    chosen = np.sort(np.random.default_rng(0).permutation(len(held))[:most])
    index.train(held[chosen])
    index.add(held)
    return index


def _probed(
    index: faiss.Index,
    vectors: np.ndarray,
    values: dict[str, np.ndarray],
    top: int,
    requests: list[dict[str, np.ndarray]],
) -> tuple[int, float]:
    """Lists that have to be looked into, and the share of the exact lists that is found then."""
    nlist, nprobe = int(faiss.extract_index_ivf(index).nlist), 32
    asked = [(one[VECTOR][0], top, *narrowed(one)) for one in requests]
    whole = AnnIndex(index, vectors, values, nlist)
    expected = [whole.exact(*one) for one in asked]
    while True:
        nprobe = min(nprobe, nlist)
        answering = AnnIndex(index, vectors, values, nprobe)
        met = recall([answering.best(*one) for one in asked], expected)
        if met >= _WANTED_RECALL or nprobe == nlist:
            break
        nprobe *= 2
    if met < LEAST_RECALL:
        raise ValueError(f"the index finds {met:.3f} of the exact lists, less than {LEAST_RECALL}, in all of its lists")
    return nprobe, met


def _requests(inputs: tuple[TensorSpec, ...], tensors: Packed) -> list[dict[str, np.ndarray]]:
    """Of packed tensors each request's own, [1, ...] by name."""
    named = {spec.name: tensor.numpy() for spec, tensor in zip(inputs, tensors, strict=True)}
    ends = {spec.of: named.pop(spec.name) for spec in inputs if spec.of is not None}
    number = len(named[VECTOR])
    rows = {
        name: [part[None] for part in np.split(array, ends[name][:-1])] if name in ends else np.split(array, number)
        for name, array in named.items()
    }
    return [{name: parts[row] for name, parts in rows.items()} for row in range(number)]


def _rows(lists: list[Listed], top: int) -> Packed:
    items, scores = np.zeros((len(lists), top), np.int64), np.full((len(lists), top), NO_SCORE)
    for row, one in enumerate(lists):
        items[row, : len(one.items)], scores[row, : len(one.scores)] = one
    return torch.from_numpy(items), torch.from_numpy(scores)


__all__ = ["EXACT_ITEMS", "ITEMS", "KIND", "ONLY", "SCORES", "VECTOR", "ann", "build", "factory_of"]
