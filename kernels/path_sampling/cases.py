"""Regimes of path sampling: one request of 1,000 candidates, and as many as fill a GPU."""

from functools import partial

import torch

from kernels.case import Arguments, Case
from kernels.path_sampling.cost import Sizes, sketch_work, work
from kernels.path_sampling.kernel import CONFIGS, SKETCH_CONFIGS, launch, launch_given, launch_sketch
from kernels.path_sampling.op import path_sampling, path_selection, sketch_lookup
from kernels.path_sampling.reference import (
    MAX_WEIGHT,
    Plan,
    path_sampling_reference,
    path_selection_reference,
    path_words,
)
from kernels.path_sampling.sketch import Layout, count, sketch_lookup_reference

_CANDIDATES = 1000
_SATURATED = 64 * _CANDIDATES
_ANCHORS = 0b11
_METERED = 6
"""Rows whose traffic the interpreter can count in seconds; bytes per row do not depend on how many there are."""


def cases() -> list[Case]:
    """Eight paths that keep two anchors and seven of ten fields."""
    return [
        *(
            case
            for fields in (24, 40)
            for case in (
                _paths("metered", _sizes(_METERED, fields, draws=2)),
                _paths("request", _sizes(_CANDIDATES, fields)),
                _paths("saturated", _sizes(_SATURATED, fields)),
            )
        ),
        _given("metered", _sizes(_METERED, 40, draws=2, given_words=True)),
        _given("request", _sizes(_CANDIDATES, 40, given_words=True)),
        _sketch("metered", keys=300, layout=Layout(blocks=1000)),
        _sketch("request", keys=_CANDIDATES * 40, layout=Layout(blocks=1 << 20)),
        _sketch("saturated", keys=_CANDIDATES * 780, layout=Layout(blocks=1 << 20)),
    ]


def _sizes(rows: int, fields: int, draws: int | None = None, *, given_words: bool = False) -> Sizes:
    return Sizes(rows=rows, fields=fields, paths=8, draws=draws or fields * 7 // 10, given_words=given_words)


def _plan(sizes: Sizes) -> Plan:
    return Plan(paths=sizes.paths, draws=sizes.draws, anchors=_ANCHORS, seed=1, version=1)


def _paths(name: str, sizes: Sizes) -> Case:
    config, plan = "fields32" if sizes.fields <= 32 else "fields64", _plan(sizes)
    return Case(
        name=name,
        config=config,
        inputs=partial(_path_inputs, sizes),
        op=partial(path_sampling, plan=plan),
        reference=partial(path_sampling_reference, plan=plan),
        batched=partial(path_sampling_reference, plan=plan),
        launch=partial(launch, plan=plan, config=CONFIGS[90, config]),
        work=work(sizes),
        metered=name == "metered",
        in_onnx=False,
    )


def _given(name: str, sizes: Sizes) -> Case:
    return Case(
        name=name,
        config="given_words",
        inputs=partial(_word_inputs, sizes),
        op=partial(path_selection, anchors=_ANCHORS),
        reference=partial(path_selection_reference, anchors=_ANCHORS),
        batched=partial(path_selection_reference, anchors=_ANCHORS),
        launch=partial(launch_given, anchors=_ANCHORS, config=CONFIGS[90, "given_words"]),
        work=work(sizes),
        metered=name == "metered",
    )


def _sketch(name: str, keys: int, layout: Layout) -> Case:
    return Case(
        name=name,
        config="sketch",
        inputs=partial(_sketch_inputs, keys, layout),
        op=partial(sketch_lookup, layout=layout),
        reference=partial(sketch_lookup_reference, layout=layout),
        batched=partial(sketch_lookup_reference, layout=layout),
        launch=partial(launch_sketch, layout=layout, config=SKETCH_CONFIGS[90, "sketch"]),
        work=sketch_work(keys, layout.block_bytes),
        metered=name == "metered",
        in_onnx=False,
    )


def _path_inputs(sizes: Sizes, seed: int) -> Arguments:
    """Uniform weights, all positive, and random keys."""
    random = torch.Generator().manual_seed(seed)
    weights = torch.randint(1, MAX_WEIGHT + 1, (sizes.rows, sizes.fields), generator=random, dtype=torch.int32)
    return weights, _keys(sizes.rows, random)


def _word_inputs(sizes: Sizes, seed: int) -> Arguments:
    weights, keys = _path_inputs(sizes, seed)
    return weights, path_words(keys, _plan(sizes))


def _sketch_inputs(keys: int, layout: Layout, seed: int) -> Arguments:
    """Every second key was counted before."""
    random = torch.Generator().manual_seed(seed)
    asked, sketch = _keys(keys, random), layout.empty()
    counted = asked[::2]
    count(sketch, counted, torch.randint(1, 1000, counted.shape, generator=random, dtype=torch.int32), layout)
    return sketch, asked


def _keys(number: int, random: torch.Generator) -> torch.Tensor:
    return torch.randint(-(1 << 63), (1 << 63) - 1, (number,), generator=random)
