"""The stages of CSMF, two for each objective but the last, and those of its controls."""

from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from training.schema import Schema
from training.system import Stage
from training.systems.csmf.config import Config
from training.systems.csmf.model import CSMF
from training.systems.csmf.samples import Cascade, CascadeBatch, objectives_of
from training.tasks.retrieval import RETRIEVAL


def asked(objective: str) -> str:
    """The metric by which an objective is judged: of what served it, in a list that asks for it."""
    return f"recall50 of {objective}, asked for"


def stages(config: Config, schema: Schema) -> tuple[Stage, ...]:
    """Each objective: trained, then pruned and recovered, unless it is the last."""
    found: list[Stage] = []
    names = objectives_of(schema)
    for place, name in enumerate(names):
        found.append(_stage(config, name, 2 * place))
        if place + 1 < len(names):
            recover = _stage(config, name, 2 * place + 1)
            samples = partial(Cascade, objective=place, share=config.recovery, refused=config.refused)
            found.append(
                replace(recover, name=f"{name}, recovered", epochs=config.recovery_epochs, samples=samples)
            )
    return tuple(found)


def _stage(config: Config, name: str, step: int) -> Stage:
    """Stage of one objective. Only the first moves what is not masked; a decay would move what is frozen."""

    def loss(module: nn.Module, batch: CascadeBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(module, CSMF)
        module.enter(step)
        return module.cascade_loss(batch)

    return replace(
        RETRIEVAL.stage(config),
        name=name,
        loss=loss,
        samples=partial(Cascade, objective=step // 2, refused=config.refused),
        parameters=nn.Module.parameters if step < 2 else CSMF.masked,
        weight_decay=config.weight_decay if step == 0 else 0.0,
        monitor=asked(name),
    )
