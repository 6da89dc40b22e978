"""An ensemble's steps, run one after the other in one process, as tritonserver would run them in several.

Free of tritonserver, so that the chain can be tested alone. Each hand-over between two processes costs about half a
millisecond on the target `cpu`, as much as a small model itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from serving.backends import packing
from serving.backends.fused.watch import UNWATCHED, Watch
from serving.configs import is_ensemble, read_config
from serving.direct import DirectModel
from serving.steps import open_step
from serving.steps.step import Answer, Host, Refusal, Step, Tensors

TARGET = "cpu"


class Link(NamedTuple):
    """A step in its place: its own tensor name -> the ensemble's tensor name."""

    step: Step
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    name: str = ""
    """Of the step's model."""


class OnnxStep:
    """A graph of ONNX Runtime; all requests in one run."""

    def __init__(self, model: DirectModel) -> None:
        self._model = model

    def answer(self, requests: Sequence[Tensors]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for place, request in enumerate(requests):
            try:
                packing.check(self._model.spec, request)
            except ValueError as error:
                answers[place] = Refusal(str(error), "INVALID_ARG")
        places = [place for place in range(len(requests)) if place not in answers]
        results = packing.isolated(self._model.run_checked, [requests[place] for place in places])
        for place, result in zip(places, results, strict=True):
            if isinstance(result, Exception):
                answers[place] = Refusal(f"the model failed on this request: {result}", "INTERNAL")
            else:
                answers[place] = result
        return [answers[place] for place in range(len(requests))]

    def close(self) -> None:
        """The session goes with the process."""


class Chain:
    """Answers a dynamic batch; a request that one step refuses goes no further."""

    def __init__(
        self, links: Sequence[Link], inputs: Sequence[str], outputs: Sequence[str], watch: Watch = UNWATCHED
    ) -> None:
        """`inputs` and `outputs` are the ensemble's; `watch` is told of each step that runs.

        Raises ValueError where a step reads what no earlier one gives.
        """
        known = set(inputs)
        for number, link in enumerate(links):
            if missing := sorted(set(link.inputs.values()) - known):
                raise ValueError(f"step {number} reads {missing}, which no input and no earlier step gives")
            known |= set(link.outputs.values())
        if missing := sorted(set(outputs) - known):
            raise ValueError(f"no step gives the outputs {missing}")
        self._links = tuple(links)
        self._watch = watch
        self._outputs = tuple(outputs)

    def answer(self, requests: Sequence[Tensors]) -> list[Answer]:
        """The outputs of each request, or why there are none."""
        known: list[Answer] = [*requests]
        for link in self._links:
            live = [(place, tensors) for place, tensors in enumerate(known) if not isinstance(tensors, Refusal)]
            asked = [{name: tensors[source] for name, source in link.inputs.items()} for _, tensors in live]
            if not asked:
                break
            with self._watch.step(link.name, [place for place, _ in live]) as told:
                answers = link.step.answer(asked)
                told(answers)
            for (place, tensors), found in zip(live, answers, strict=True):
                known[place] = found if isinstance(found, Refusal) else tensors | _renamed(found, link.outputs)
        return [one if isinstance(one, Refusal) else {name: one[name] for name in self._outputs} for one in known]

    def close(self) -> None:
        """Closes all steps."""
        for link in self._links:
            link.step.close()


def open_chain(host: Host, model: Path, version: str, target: str = TARGET, watch: Watch = UNWATCHED) -> Chain:
    """Version n of an ensemble with version n of each step, so that no roll-out can mix two releases.

    Raises ValueError for a step that cannot run in this process.
    """
    config = read_config(model, "gpu")
    links = [
        Link(
            open_model(host, model.parent / step.model_name, version, target, watch),
            dict(step.input_map),
            dict(step.output_map),
            step.model_name,
        )
        for step in config.ensemble_scheduling.step
    ]
    for link in links:
        watch.expect(link.name)
    return Chain(links, [tensor.name for tensor in config.input], [tensor.name for tensor in config.output], watch)


def open_model(host: Host, model: Path, version: str, target: str = TARGET, watch: Watch = UNWATCHED) -> Step:
    """A version of any model: graph, step or ensemble. Raises ValueError where it cannot run in this process."""
    if not (model / version).is_dir():
        raise ValueError(f"{model} has no version {version}: an ensemble's steps are published together with it")
    if is_ensemble(model):
        return open_chain(host, model, version, target, watch)
    if read_config(model, target).backend == "onnxruntime":
        return OnnxStep(DirectModel.open(model, target, version))
    return open_step(host, model / version)


def _renamed(tensors: Tensors, names: Mapping[str, str]) -> Tensors:
    return {names[name]: array for name, array in tensors.items() if name in names}
