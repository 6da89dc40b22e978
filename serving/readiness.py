"""What must hold before a server is called ready.

Every file of every version that it loads is the one that was published, and every model answers its golden requests.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from recserve_client import Client
from recserve_client.errors import ServingError
from serving import crashes, golden, manifest
from serving.startup import StartupError
from serving.versions import loaded_versions, served_version

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


def check_files(repository: Path, target: str, pinned: Mapping[str, int] | None = None) -> None:
    """Compares all files of the versions that a server would load with their manifests.

    `pinned` are the versions that it loads by the model's name; those of the version policies where None.

    Raises:
        ValueError: names the file.
    """
    if pinned is None:
        paths = [version for model in models(repository, target) for version in loaded_versions(model, target)]
    else:
        paths = [repository / name / str(version) for name, version in pinned.items()]
    for path in paths:
        manifest.verify(path)


def check_goldens(client: Client, repository: Path, target: str, pinned: Mapping[str, int] | None = None) -> None:
    """Asks every model its first golden requests; `pinned` as for `check_files`.

    Raises:
        StartupError: an answer is wrong or missing; says the model, the worst element and what to look at.
    """
    for model in models(repository, target):
        if pinned is not None and model.name not in pinned:
            continue
        version = served_version(model, target) if pinned is None else model / str(pinned[model.name])
        for fault in _faults(client, model, version):
            raise StartupError(f"{model.name}: {fault}")


def _faults(client: Client, model: Path, version: Path) -> Iterator[str]:
    path = version / "golden.safetensors"
    if not path.is_file():
        yield f"{path} is missing; export the model again, or start with check_golden=False"
        return
    for number, expected in enumerate(golden.read(path)[:REQUESTS]):
        try:
            answer = client.infer(model.name, expected.inputs, deadline_s=DEADLINE_S)
        except ServingError as error:
            # What ended the server three times keeps nobody else from being served.
            if crashes.REFUSED in str(error):
                continue
            yield f"golden request {number} failed: {error}"
            return
        gap = golden.compare(expected.outputs, answer, TOLERANCE)
        if not gap.ok:
            yield (
                f"golden request {number}: output '{gap.output}' at {list(gap.index)} is off by {gap.absolute:.3g} "
                f"(relative {gap.relative:.3g}, allowed {TOLERANCE:g}); {_HINT}"
            )
