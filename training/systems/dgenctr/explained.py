"""What DGenCTR would fill a field of a row with: a further model of a release, and its answer for people."""

import copy

from training.asking import Infer, Shown, Tensors, ordered
from training.data.click import ClickData
from training.data.columns import feature_layout
from training.interactions import Interactions
from training.layers.click_release import plain_release
from training.layers.field_generator import FieldGenerator
from training.layers.likeliest import MOST, Likeliest
from training.layers.requests import CANDIDATES
from training.layers.row_model import ROW, row_model, said, told_of
from training.servable import Signature, TensorSpec

BEST = 3
"""Candidates that are explained."""
PART = "fields"


def served(name: str, module: FieldGenerator, config: object, data: ClickData) -> tuple[Signature, ...]:
    """The plain release, and beside it the model that `explained` asks."""
    count = module.num_fields
    outputs = (
        TensorSpec(name="values", dtype="int64", shape=(count, MOST)),
        TensorSpec(name="shares", dtype="float32", shape=(count, MOST)),
        TensorSpec(name="own_share", dtype="float32", shape=(count,)),
    )
    exact = copy.deepcopy(module).double().eval()
    return (row_model(f"{name}_{PART}", Likeliest(exact), exact, outputs, data), *plain_release(name, module, data))


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """A table for each of the best candidates: each field's value, how likely it is given all others, and the values
    that are likeliest there."""
    fields = feature_layout(interactions.schema).fields
    tables = []
    for place in ordered(answer["scores"][0])[:BEST].tolist():
        told = {key: value[0] for key, value in told_of(infer, model, PART, interactions, request, place).items()}
        item = request[CANDIDATES.name][0, place]
        rows: list[list[object]] = []
        for number, field in enumerate(fields):
            if field.kind == "id":
                pairs = zip(told["values"][number].tolist(), told["shares"][number].tolist(), strict=True)
                likely = ", ".join(f"{said(interactions, field, one)} {share:.2f}" for one, share in pairs if share)
                own = said(interactions, field, int(told[ROW][number]))
                rows.append([field.name, own, float(told["own_share"][number]), likely])
        title = (
            f"fields of {interactions.titles[interactions.dense('item', item)]} (item {item}), each given the others"
        )
        tables.append(Shown((), title, ("field", "value", "likely", "likeliest values"), rows))
    return tables
