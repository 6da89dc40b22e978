"""Where Combo-ID attention is metered and timed: few fields and many, one request and a full GPU."""

from functools import partial

import torch
from torch import Tensor

from kernels.case import Arguments, Case
from kernels.combo_id_attention import reference
from kernels.combo_id_attention.configs import CONFIGS, Bucket, Config
from kernels.combo_id_attention.cost import work
from kernels.combo_id_attention.kernel import launch
from kernels.combo_id_attention.op import combo_id_attention
from kernels.combo_id_attention.reference import Codebooks, Fields, Fusion, field_salt, mix
from kernels.combo_id_attention.shipped import MODELS, Model, config_name, sizes_of

_CANDIDATES = 1000
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2}


def cases() -> list[Case]:
    """1,000 candidates a request; 32 where the interpreter meters, which says the same of the bytes of a candidate."""
    return [
        _case("metered", "narrow", 1, 32, metered=True),
        _case("metered", "wide", 1, 32, metered=True),
        _case("request", "narrow", 1, _CANDIDATES),
        _case("request of many fields", "wide", 1, _CANDIDATES),
        _case("saturated", "narrow", 64, 64 * _CANDIDATES),
        _case("saturated", "wide", 8, 8 * _CANDIDATES),
    ]


def _case(name: str, bucket: Bucket, requests: int, candidates: int, *, metered: bool = False) -> Case:
    model = MODELS[bucket]
    return Case(
        name=name,
        config=config_name(bucket, "candidates"),
        inputs=partial(_inputs, model, requests, candidates),
        op=_op,
        reference=_reference,
        batched=_reference,
        launch=partial(_launch, config=CONFIGS[90, bucket]),
        work=work(sizes_of(bucket, requests, candidates)),
        tolerance=_TOLERANCE[model.dtype],
        metered=metered,
    )


def _op(*flat: Tensor) -> Tensor:
    return combo_id_attention(*_grouped(flat))


def _reference(*flat: Tensor) -> Tensor:
    return reference.combo_id_attention(*_grouped(flat))


def _launch(*flat: Tensor, config: Config) -> Tensor:
    return launch(*_grouped(flat), config)


def _grouped(flat: tuple[Tensor, ...]) -> tuple[Fields, Fields, Tensor, Codebooks, Fusion]:
    return Fields(*flat[:2]), Fields(*flat[2:4]), flat[4], Codebooks(*flat[5:8]), Fusion(*flat[8:])


def _inputs(model: Model, requests: int, candidates: int, seed: int) -> Arguments:
    """In the operator's order; ids of 62 bits, so that rows are spread as in service."""
    random = torch.Generator().manual_seed(seed)

    def fields(rows: int, count: int) -> Fields:
        tokens = torch.randn(rows, count, (3 * model.heads + 2) * model.width, generator=random)
        return Fields(tokens.to(model.dtype), torch.randint(2**62, (rows, count), generator=random))

    def scores(rows: int) -> Tensor:
        return torch.randn(rows, model.heads, generator=random).to(model.dtype)

    total = model.user + model.item
    ends = torch.arange(1, requests + 1, dtype=torch.int32) * (candidates // requests)
    codebooks = Codebooks(scores(model.rows), scores(model.rows - 3), field_salt(total, seed))
    fusion = Fusion(mix("gate", torch.rand(model.heads, generator=random)), torch.rand(total, total, generator=random))
    return (*fields(requests, model.user), *fields(candidates, model.item), ends, *codebooks, *fusion)
