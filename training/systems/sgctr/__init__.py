"""SGCTR: symmetric masked generation, "Infer As You Train".

Zhang et al., 2025, https://arxiv.org/abs/2511.14403

Only the abstract and public summaries were at hand. They state: training as in DGenCTR, with a mask per field, a ratio
of masks that rises with the step, cosines and a softmax over sampled values; at inference the generator works too, in
rounds that generate masked components of the input and weigh them anew, so that features are redefined. Our design:
which fields are masked (the least consistent with the rest), how many, the weight of the original, blending with the
original and never with the round before, the kept length, anchors, thresholds, early exit, the click logit after the
last round, mixed with that of the first pass where no field lies below its threshold by more than a narrow ramp, so
that no answer jumps with the last bit of a cosine.

Differs from the paper: unknown where it could not be read. The generator is DGenCTR's, trained in a run of its own
whose weights stay as they are; the number of rounds is part of the graph. A row in which every field is consistent is
answered by the generator's first pass alone; the graph takes only the other rows through the rounds.
"""

from torch import Tensor, nn

from training.data.altered import spaced
from training.data.click import FEATURES, ClickBatch, ClickData
from training.layers.columns import Features
from training.layers.field_generator import FieldGenerator
from training.needs import FIELDS
from training.schema import Schema
from training.system import Column, Split, Stage, System, Upstream
from training.systems.sgctr.evaluation import evaluate
from training.systems.sgctr.explained import explained, served
from training.systems.sgctr.model import Sgctr, SgctrConfig, generator_settings
from training.tasks.click import CLICK

__all__ = ["SYSTEM", "Sgctr", "SgctrConfig"]


def build(config: SgctrConfig, schema: Schema) -> Sgctr:
    """Around a generator that its own run fills."""
    return Sgctr(FieldGenerator(config, schema), config)


def stages(config: SgctrConfig) -> tuple[Stage, ...]:
    """One, in which thresholds alone are learnt, on clean validation rows; the generator's weights stay."""

    def samples(data: ClickData) -> Split:
        return spaced(data.validation, config.threshold_rows)

    return (
        Stage(
            name="thresholds",
            loss=thresholds,
            parameters=lambda module: [module.get_parameter("thresholds")],
            epochs=1,
            batch_size=config.batch_size,
            learning_rate=config.threshold_rate,
            schedule="linear",
            samples=samples,
            monitor="base_auc",
        ),
    )


def thresholds(module: nn.Module, batch: ClickBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Quantile regression of the cosines."""
    assert isinstance(module, Sgctr)
    loss = module.thresholds_loss(Features(batch.ids, batch.dense, batch.sets))
    return loss, {"loss": loss.detach()}


SYSTEM = System(
    name="sgctr",
    title="SGCTR: masked generation at test time",
    paper="https://arxiv.org/abs/2511.14403",
    provenance="states: the generator at inference, rounds, masked components generated and weighed anew; our design: "
    "choice of fields, weight, kept length, anchors, thresholds, early exit",
    task=CLICK,
    config=SgctrConfig,
    baseline="dgenctr",
    build=build,
    reads=frozenset({FEATURES}),
    stages=stages,
    evaluate=evaluate,
    columns=(
        Column(title="AUC over its base", metric="gain"),
        Column(title="early exit", metric="early_exit", direction=None),
    ),
    upstream=lambda config: (Upstream(system="dgenctr", config=generator_settings(config)),),
    needs=(FIELDS,),
    served=served,
    explained=explained,
    quick={"batch_size": 64, "layers": 1},
    variant=lambda config: "-".join(
        part
        for part in (
            f"{config.rounds}-rounds" if config.rounds != SgctrConfig().rounds else "",
            "shuffled" if config.shuffled else "",
        )
        if part
    ),
)
