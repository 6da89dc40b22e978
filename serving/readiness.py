"""The last step before a server is called ready: every model answers its golden requests right."""

from collections.abc import Iterator
from pathlib import Path

from serving import golden
from serving.client import Client
from serving.errors import ServingError, StartupError

TOLERANCE = 1e-5
REQUESTS = 3
"""Golden requests that each model answers; the parity ladder asks all of them."""
DEADLINE_S = 30.0
"""A first request may wait for what a model sets up lazily."""

_HINT = (
    "the served model is not the exported one: export it again, and check the environment (numpy 2 in place of "
    "'numpy<2' makes this server compute garbage without an error)"
)


def models(repository: Path, target: str) -> list[Path]:
    """The model directories of a repository, by name.

    Raises:
        ValueError: there is none.
    """
    found = sorted(
        path
        for path in repository.glob("*")
        if (path / "config.pbtxt").is_file() or (path / "configs" / f"{target}.pbtxt").is_file()
    )
    if not found:
        raise ValueError(f"{repository} holds no model; make one with recserve export RUN --repository {repository}")
    return found


def latest_version(model: Path) -> Path:
    """The directory of the highest version number.

    Raises:
        ValueError: there is none.
    """
    versions = [path for path in model.iterdir() if path.name.isdecimal() and not path.name.startswith("0")]
    if not versions:
        raise ValueError(f"{model} has no version directory; export the model again")
    return max(versions, key=lambda path: int(path.name))


def check_goldens(client: Client, repository: Path, target: str) -> None:
    """Asks every model its first golden requests.

    Raises:
        StartupError: an answer is wrong or missing; says the model, the worst element and what to look at.
    """
    for model in models(repository, target):
        for fault in _faults(client, model):
            raise StartupError(f"{model.name}: {fault}")


def _faults(client: Client, model: Path) -> Iterator[str]:
    path = latest_version(model) / "golden.safetensors"
    if not path.is_file():
        yield f"{path} is missing; export the model again, or start with check_golden=False"
        return
    for number, expected in enumerate(golden.read(path)[:REQUESTS]):
        try:
            answer = client.infer(model.name, expected.inputs, deadline_s=DEADLINE_S)
        except ServingError as error:
            yield f"golden request {number} failed: {error}"
            return
        gap = golden.compare(expected.outputs, answer, TOLERANCE)
        if not gap.ok:
            yield (
                f"golden request {number}: output '{gap.output}' at {list(gap.index)} is off by {gap.absolute:.3g} "
                f"(relative {gap.relative:.3g}, allowed {TOLERANCE:g}); {_HINT}"
            )
