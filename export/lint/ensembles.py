"""Checks of ensembles: the graph of their tensors, and how it fits the models of the steps."""

from collections.abc import Iterator, Mapping

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.lint.ensemble_tensors import fit_problems
from export.lint.entry import Entry, Finding, Problem
from export.lint.versions import served_versions

_STEP = "ensemble_scheduling.step"
_ANY_VERSION = -1
_FORBIDDEN = ("instance_group", "model_warmup")


def ensemble_findings(
    entry: Entry, file: str, config: ModelConfig, models: Mapping[str, tuple[Entry, ModelConfig]]
) -> Iterator[Finding]:
    """Findings about one configuration of an ensemble; `models` are all of the repository, for the same target."""
    graph = [*_forbidden(config), *_graph(config)]
    for field, reason, remedy in graph:
        yield entry.error(file, field, reason, remedy)
    missing = list(_steps(entry.name, config, models))
    for field, reason, remedy in missing:
        yield entry.error(file, field, reason, remedy)
    # Where the graph is broken the rest would only repeat it.
    if not (graph or missing):
        for severity, (field, reason, remedy) in fit_problems(config, {name: own for name, (_, own) in models.items()}):
            yield (entry.error if severity == "error" else entry.warning)(file, field, reason, remedy)


def _forbidden(config: ModelConfig) -> Iterator[Problem]:
    present = [name for name in _FORBIDDEN if getattr(config, name)]
    if config.HasField("optimization"):
        present.append("optimization")
    for name in present:
        yield name, "an ensemble has none: it runs nothing itself", "set it on the steps' models"


def _graph(config: ModelConfig) -> Iterator[Problem]:
    steps = config.ensemble_scheduling.step
    if not steps:
        yield _STEP, "an ensemble without steps", "add the steps"
    incomplete = False
    for number, step in enumerate(steps):
        for part in ("model_name", "input_map", "output_map"):
            if not getattr(step, part):
                incomplete = True
                yield f"{_STEP}[{number}].{part}", f"the step has no {part}", "set it"
    if not incomplete and steps:
        yield from _flow(config)


def _flow(config: ModelConfig) -> Iterator[Problem]:
    """Each tensor has one source and a use, as far as tensors can be made at all."""
    steps = config.ensemble_scheduling.step
    written: dict[str, int] = {}
    for number, step in enumerate(steps):
        for tensor in step.output_map.values():
            if tensor in written:
                reason = f"writes '{tensor}', as step {written[tensor]} does"
                yield f"{_STEP}[{number}].output_map", reason, "give it another name"
            written.setdefault(tensor, number)
    read = {tensor: number for number, step in reversed([*enumerate(steps)]) for tensor in step.input_map.values()}
    unmade = [*_unmade(config, written, read)]
    yield from unmade
    # What nothing makes is most often the other end of a name that was mistyped, and so used by nobody.
    if not unmade:
        yield from _unused(config, written, read)


def _unused(config: ModelConfig, written: Mapping[str, int], read: Mapping[str, int]) -> Iterator[Problem]:
    given = {tensor.name for tensor in config.input}
    for name in sorted(given - set(read) - set(written)):
        yield "input", f"no step reads the input '{name}'", "map it, or remove it"
    for name in sorted(set(written) - set(read) - {tensor.name for tensor in config.output}):
        reason = f"nothing uses '{name}'"
        yield f"{_STEP}[{written[name]}].output_map", reason, "leave it out of the map, or make it an output"


def _unmade(config: ModelConfig, written: Mapping[str, int], read: Mapping[str, int]) -> Iterator[Problem]:
    """Tensors that are never made: nothing writes them, or only steps that wait for each other."""
    made, waiting = {tensor.name for tensor in config.input}, list(config.ensemble_scheduling.step)
    while ready := [step for step in waiting if made.issuperset(step.input_map.values())]:
        made.update(name for step in ready for name in step.output_map.values())
        waiting = [step for step in waiting if step not in ready]
    sources = sorted(set(read) - made - set(written))
    for name in sources:
        reason = f"reads '{name}', which nothing writes"
        yield f"{_STEP}[{read[name]}].input_map", reason, f"map it to one of {sorted(made)}"
    for name in [tensor.name for tensor in config.output if tensor.name not in made | set(written)]:
        if name not in read:
            yield "output", f"no step writes '{name}'", f"use one of {sorted(made)}"
    if waiting and not sources:
        names = sorted({name for step in waiting for name in step.output_map.values()})
        yield _STEP, f"the steps that write {names} wait for each other", "break the circle"


def _steps(ensemble: str, config: ModelConfig, models: Mapping[str, tuple[Entry, ModelConfig]]) -> Iterator[Problem]:
    for number, step in enumerate(config.ensemble_scheduling.step):
        field = f"{_STEP}[{number}]"
        if not step.model_name:
            continue
        if step.model_name not in models:
            remedy = f"use one of {sorted(set(models) - {ensemble})}"
            yield f"{field}.model_name", f"there is no model '{step.model_name}' in the repository", remedy
            continue
        if _leads_to(step.model_name, ensemble, models):
            yield f"{field}.model_name", f"'{step.model_name}' leads back to '{ensemble}'", "break the circle"
            continue
        entry, own = models[step.model_name]
        served = served_versions(entry.folder, own)
        if served and step.model_version not in (_ANY_VERSION, *served):
            reason = f"{step.model_version}, but '{step.model_name}' serves {served}"
            yield f"{field}.model_version", reason, "use -1 for the newest, or change that model's version_policy"


def _leads_to(name: str, goal: str, models: Mapping[str, tuple[Entry, ModelConfig]]) -> bool:
    """Whether the model is an ensemble that has `goal` among its steps, at any depth."""
    reached, waiting = set[str](), [name]
    while waiting:
        reached.add(current := waiting.pop())
        steps = models[current][1].ensemble_scheduling.step if current in models else []
        waiting += [step.model_name for step in steps if step.model_name not in reached]
    return goal in reached
