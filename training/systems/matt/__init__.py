"""MATT-CTR: a model-agnostic test-time paradigm for click prediction.

Zhang et al., 2025, https://arxiv.org/abs/2510.08932

Only the abstract and public summaries were at hand. They state: occurrences of feature combinations of several orders
are estimated by hierarchical probabilistic hashing; confidences are the sampling probabilities of several paths of each
instance, drawn iteratively; the paths' scores are aggregated; the model is not trained again. Our design: counts and
bounds (kernels/path_sampling), the anchors user_id and item_id in every path, mean vectors for dropped fields, shares
by a softmax of mean confidences with a fixed one for the full path, the trigger, the first layer absorbed over paths.

Differs from the paper: unknown where it could not be read. A draw is weighted by the field's confidence with the
anchors, not with all fields drawn before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from kernels.path_sampling.hph import Frequencies
from training.baselines import autoint, deepfm
from training.layers.fields import FieldModel
from training.schema import Schema
from training.system import ParameterGroup, Stage, System
from training.systems import dea
from training.systems.matt.bases.autoint import AbsorbedAutoInt
from training.systems.matt.bases.dea import AbsorbedDEA
from training.systems.matt.bases.deepfm import AbsorbedDeepFM
from training.systems.matt.evaluation import evaluate
from training.systems.matt.model import Matt, MattConfig
from training.systems.matt.servables import servables
from training.systems.matt.served import Absorbed

__all__ = ["AUTOINT", "DEA", "DEEPFM", "AutoIntConfig", "DEAConfig", "DeepFMConfig", "Matt"]


@dataclass(frozen=True, kw_only=True)
class DeepFMConfig(MattConfig):
    """DeepFM's, and the paths."""


@dataclass(frozen=True, kw_only=True)
class AutoIntConfig(MattConfig, autoint.Config):
    """AutoInt's, and the paths."""


@dataclass(frozen=True, kw_only=True)
class DEAConfig(MattConfig, dea.Config):
    """DEA's, and the paths."""


def on_base(stage: Stage) -> Stage:
    """A stage of the base model inside MATT: the same steps, and the same weights at its end."""

    def loss(module: nn.Module, batch: Any, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        return stage.loss(_base(module), batch, done)

    def inside(group: ParameterGroup) -> ParameterGroup:
        return replace(group, parameters=lambda module: group.parameters(_base(module)))

    return replace(
        stage,
        loss=loss,
        parameters=lambda module: stage.parameters(_base(module)),
        groups=tuple(inside(group) for group in stage.groups),
        monitor=f"base_{stage.monitor}",
    )


def around(base: System, config: type, absorb: Callable[[Any], Absorbed]) -> System:
    """The system `matt_<base>`: the base trained as alone, with the counts of its training log beside it."""
    name = f"matt_{base.name}"

    def build(chosen: Any, schema: Schema) -> Matt:
        # The base first, so that its initial weights are those that it has alone.
        inner = base.build(chosen, schema)
        assert isinstance(inner, FieldModel)
        return Matt(inner, Frequencies(len(schema.fields)), chosen)

    def stages(chosen: Any) -> Sequence[Stage]:
        return tuple(on_base(stage) for stage in base.stages(chosen))

    return System(
        name=name,
        title=f"MATT-CTR around {base.title}",
        paper="https://arxiv.org/abs/2510.08932",
        provenance="states: hashed frequencies, paths drawn by confidence, aggregation, no training; our design: "
        "bounds, anchors, mean vectors, shares, trigger, absorption over paths",
        config=config,
        dataset=base.dataset,
        baseline=base.name,
        build=build,
        prepare=Matt.prepare,
        stages=stages,
        evaluate=evaluate,
        servables=lambda matt, chosen, data: servables(name, matt, absorb, data),
    )


def _base(module: nn.Module) -> FieldModel:
    assert isinstance(module, Matt)
    return module.base


DEEPFM = around(deepfm.SYSTEM, DeepFMConfig, AbsorbedDeepFM)
AUTOINT = around(autoint.SYSTEM, AutoIntConfig, AbsorbedAutoInt)
DEA = around(dea.SYSTEM, DEAConfig, AbsorbedDEA)
