"""Steps that are no graphs, by kind: what a configuration's parameter `step` names, and what opens it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from serving.configs import read_config
from serving.steps.step import Host, Step

PARAMETER = "step"
"""Of `config.pbtxt`: the kind of the step."""
ANN = "ann"
USER_EVENTS = "user_events"
USER_STATE = "user_state"

Opener = Callable[[Host, Path], Step]
"""(what is around the step, version folder); raises ValueError for a damaged folder."""


# Each imports what its kind alone needs: lmdb, faiss, or torch for the sampler.
def _ann(host: Host, folder: Path) -> Step:
    from serving.steps.ann import AnnStep

    return AnnStep(host, folder)


def _path_sampler(host: Host, folder: Path) -> Step:
    from serving.steps.path_sampler import SamplerStep

    return SamplerStep(host, folder)


def _user_rows(host: Host, folder: Path) -> Step:
    from serving.steps.user_rows import RowsStep

    return RowsStep(host, folder)


def _user_state(host: Host, folder: Path) -> Step:
    from serving.steps.user_state import StateStep

    return StateStep(host, folder)


def _user_events(host: Host, folder: Path) -> Step:
    from serving.steps.user_events import EventsStep

    return EventsStep(host, folder)


STEPS: Mapping[str, Opener] = {
    ANN: _ann,
    "path_sampler": _path_sampler,
    USER_EVENTS: _user_events,
    "user_rows": _user_rows,
    USER_STATE: _user_state,
}


def kind_of(model: Path) -> str | None:
    """The kind of the step in a model's folder; None for another model."""
    return read_config(model, "cpu").parameters[PARAMETER].string_value or None


def open_step(host: Host, folder: Path) -> Step:
    """The step of a version folder. Raises ValueError where the model is none, or the folder is damaged."""
    kind = kind_of(folder.parent)
    if kind is None or kind not in STEPS:
        named = f"the parameter '{PARAMETER}' of its configuration is '{kind or ''}'"
        raise ValueError(f"{folder.parent.name} is no step: {named}, which must be one of {', '.join(sorted(STEPS))}")
    return STEPS[kind](host, folder)
