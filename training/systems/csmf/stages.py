"""The stages of CSMF, two for each objective but the last, and those of its controls."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from torch import Tensor, nn

from training.data.retrieval import RetrievalData
from training.schema import Schema
from training.system import Stage
from training.systems.csmf.cascaded import Cascaded
from training.systems.csmf.config import Config
from training.systems.csmf.controls import Narrow
from training.systems.csmf.model import CSMF
from training.systems.csmf.samples import ALL, Cascade, CascadeBatch, cascade, objectives_of
from training.tasks.retrieval import RETRIEVAL


def asked(metric: str, objective: str) -> str:
    """Name of the metric of what served an objective, in a list that asks for it."""
    return f"{metric} of {objective}, asked for"


def stages(config: Config, schema: Schema) -> tuple[Stage, ...]:
    """Of the whole system each objective is trained, then pruned and recovered, unless it is the last. Of the controls
    each is trained, or the last alone, or all at once."""
    names = objectives_of(schema)
    last = len(names) - 1
    if config.way == "mixed":
        return (_stage(config, names[last], ALL, 2 * last),)
    if config.way == "last":
        return (_stage(config, names[last], last, 2 * last),)
    found: list[Stage] = []
    for place, name in enumerate(names):
        found.append(_stage(config, name, place, 2 * place))
        if config.way == "masks" and place < last:
            recover = replace(
                _stage(config, name, place, 2 * place + 1),
                name=f"{name}, recovered",
                epochs=config.recovery_epochs,
                samples=_samples(config, place, config.recovery),
            )
            found.append(recover)
    return tuple(found)


def _stage(config: Config, name: str, objective: int, step: int) -> Stage:
    def loss(module: nn.Module, batch: CascadeBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(module, Cascaded)
        module.enter(step)
        return module.cascade_loss(batch, objective)

    def parameters(module: nn.Module) -> Iterable[nn.Parameter]:
        """Only the first objective of CSMF moves what is not masked; one of several towers is alone."""
        if isinstance(module, Narrow):
            return module.pair(objective).parameters()
        return module.masked() if isinstance(module, CSMF) and objective else module.parameters()

    return replace(
        RETRIEVAL.stage(config),
        name=name if objective != ALL else "all",
        loss=loss,
        samples=_samples(config, objective),
        parameters=parameters,
        # A decay would move what is frozen, too.
        weight_decay=0.0 if config.way == "masks" and step else config.weight_decay,
        monitor=asked("recall50", name),
    )


def _samples(config: Config, objective: int, share: float = 1.0) -> Callable[[RetrievalData], Cascade]:
    return lambda data: cascade(data, objective, share, config.refused)
