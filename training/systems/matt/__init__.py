"""MATT-CTR: a model-agnostic test-time paradigm for click prediction.

Zhang et al., 2025, https://arxiv.org/abs/2510.08932

Only the abstract and public summaries were at hand. They state: occurrences of feature combinations of several orders
are estimated by hierarchical probabilistic hashing; confidences are the sampling probabilities of several paths of each
instance, drawn iteratively; the paths' scores are aggregated; the model is not trained again. Our design: counts and
bounds (kernels/path_sampling), the anchors user_id and item_id in every path, mean vectors for dropped fields, shares
by a softmax of mean confidences with a fixed one for the full path, the trigger, what paths share computed once.

Differs from the paper: unknown where it could not be read. A draw is weighted by the field's confidence with the
anchors, not with all fields drawn before.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

from torch import Tensor, nn

from kernels.path_sampling.hph import Frequencies
from training.data.click import FEATURES, ClickBatch, ClickSplit
from training.data.columns import feature_layout
from training.layers.fields import FieldConfig, FieldModel
from training.needs import NO_EVENT_FIELDS
from training.schema import Schema
from training.system import Column, ParameterGroup, Stage, System
from training.systems.matt.evaluation import Predict, evaluate
from training.systems.matt.explained import explained
from training.systems.matt.model import Matt, MattConfig
from training.systems.matt.servables import servables
from training.tasks.click import CLICK

__all__ = ["SYSTEM", "Matt", "MattConfig"]


_NO_BASE = "base is {}, which is no model over fields; choose fm, deepfm, autoint, dcnv2, mlp, dea or dgenctr"


def base_of(config: MattConfig) -> System:
    """The system whose model is asked along the paths. Raises ValueError for one that is not over fields."""
    # The registry imports this file.
    from training.registry import system

    base = system(config.base)
    if not issubclass(base.config, FieldConfig) or issubclass(base.config, MattConfig):
        raise ValueError(_NO_BASE.format(config.base))
    return base


def base_config(config: MattConfig) -> object:
    """The base's configuration: what all models over fields share from here, the rest its defaults."""
    shared = {field.name: getattr(config, field.name) for field in fields(FieldConfig)}
    return base_of(config).config(**shared)


def build(config: MattConfig, schema: Schema) -> Matt:
    """The base first, so that its initial weights are those that it has alone."""
    inner = base_of(config).build(base_config(config), schema)
    if not isinstance(inner, FieldModel):
        raise ValueError(_NO_BASE.format(config.base))
    return Matt(inner, Frequencies(len(feature_layout(schema).fields)), config)


def stages(config: MattConfig) -> Sequence[Stage]:
    """The base's."""
    return tuple(on_base(stage) for stage in base_of(config).stages_of(base_config(config)))


def on_base(stage: Stage) -> Stage:
    """A stage of the base model inside MATT: the same steps, and the same weights at its end."""

    def loss(module: nn.Module, batch: ClickBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
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


def measured(module: nn.Module, predict: Predict, split: ClickSplit) -> dict[str, float]:
    """MATT beside its base, and whatever else the base is measured by, so that its stages find it (`base_`)."""
    assert isinstance(module, Matt)
    own = base_of(module.config).measure(module.base, predict, split)
    return {f"base_{name}": value for name, value in own.items()} | evaluate(module, predict, split)


def _base(module: nn.Module) -> FieldModel:
    assert isinstance(module, Matt)
    return module.base


SYSTEM = System(
    name="matt",
    title="MATT-CTR: test-time paths around a base model",
    paper="https://arxiv.org/abs/2510.08932",
    provenance="states: hashed frequencies, paths drawn by confidence, aggregation, no training; our design: "
    "bounds, anchors, mean vectors, shares, trigger, sharing between paths",
    task=CLICK,
    config=MattConfig,
    baseline=lambda config: config.base,
    build=build,
    reads=frozenset({FEATURES}),
    needs=(NO_EVENT_FIELDS,),
    stages=stages,
    evaluate=measured,
    columns=(Column(title="AUC over its base", metric="gain"),),
    served=servables,
    explained=explained,
    variant=lambda config: config.base,
)
