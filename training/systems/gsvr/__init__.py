"""GSVR: Global-distribution aware Scenario-specific Variational Representation for multi-scenario recommendation.

CIKM 2025 (short), https://arxiv.org/abs/2508.14493

Only the abstract, the first page and a public review were at hand. They state: a distribution of each user and each
item in each scenario, inferred variationally under an evidence bound; a prior that is global, multinomial, and alike
for users of like interests and items of like side information; a plug-in to models of many scenarios. Reconstructed:
the prior as a mixture of Gaussians shared by all scenarios, with shares by a softmax. Our design: the amortised
posterior with a residual for each cell, the bound of the divergence from a mixture, its division by the samples of the
cell, the prior's mean where training met no sample of a cell and cells that count as unseen in training, the backbones,
all sizes and weights.

Differs from the paper: unknown where it could not be read. The user's vector is added to the profile of the backbone,
whose history stays as it is; the item's takes the place of the target.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

from training.data.click import HISTORY, WHO
from training.layers.ranker import RankerConfig
from training.layers.scenarios import ScenarioModel
from training.needs import SCENARIOS
from training.schema import Schema
from training.system import Stage, System
from training.systems.gsvr.evaluation import evaluate
from training.systems.gsvr.explained import explained
from training.systems.gsvr.model import GSVR, Config, gsvr_loss
from training.systems.gsvr.servables import servables
from training.tasks.click import CLICK

__all__ = ["GSVR", "SYSTEM", "Config"]


def backbone(config: Config, schema: Schema) -> ScenarioModel:
    """An untrained model of the configured backbone. Raises ValueError for one that knows no scenario."""
    # The registry imports this file.
    from training.registry import system

    base = system(config.backbone)
    if issubclass(base.config, RankerConfig) and not issubclass(base.config, Config):
        shared = {field.name: getattr(config, field.name) for field in fields(RankerConfig)}
        host = base.build(base.config(**shared), schema)
        if isinstance(host, ScenarioModel):
            return host
    raise ValueError(f"backbone is {config.backbone}, which knows no scenario; choose shared_bottom or pepnet")


def build(config: Config, schema: Schema) -> GSVR:
    """The backbone first, so that its initial weights are those that it has alone."""
    return GSVR(config, backbone(config, schema), schema)


def stages(config: Config) -> Sequence[Stage]:
    """One stage, end to end, warm-up included."""
    return (replace(CLICK.stage(config), loss=gsvr_loss),)


def variant(config: Config) -> str:
    """What a configuration chooses: backbone, control."""
    chosen = {
        "pepnet": config.backbone == "pepnet",
        config.cells: config.cells != "variational",
        "permuted": config.permuted,
    }
    return "-".join(name for name, is_so in chosen.items() if is_so)


SYSTEM = System(
    name="gsvr",
    title="GSVR: scenario-specific variational representation",
    paper="https://arxiv.org/abs/2508.14493",
    provenance="states: a distribution by entity and scenario, evidence bound, global prior, plug-in; reconstructed: "
    "mixture prior; our design: posterior, bound of the divergence, division by counts, unseen cells, sizes",
    task=CLICK,
    config=Config,
    baseline=lambda config: config.backbone,
    controls=("shared_bottom", "pepnet"),
    quick={"max_length": 12, "warm_up": 0.0},
    build=build,
    reads=frozenset({HISTORY, WHO}),
    needs=(SCENARIOS,),
    stages=stages,
    evaluate=evaluate,
    served=servables,
    explained=explained,
    variant=variant,
)
