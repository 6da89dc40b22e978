"""Takes a running server to the newest published release, without a failed request.

Models of a release are loaded one after the other, and an ensemble whose steps follow "the newest version" would mix
two releases meanwhile. So ensembles are pinned: to the versions that serve, right after the start, and to the new ones
in a single step, after every new model has answered its golden requests. The version before stays loaded until the
next roll-out, so requests under way end where they began.
"""

from collections.abc import Callable, Set
from pathlib import Path
from typing import NamedTuple

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from serving import golden, manifest
from serving.client import Client
from serving.configs import FUSED, read_config
from serving.errors import ServingError, StartupError
from serving.readiness import DEADLINE_S, TOLERANCE, latest_version, models

LOAD_DEADLINE_S = 300.0


class Release(NamedTuple):
    """The newest version of each model in the repository."""

    versions: dict[str, int]

    @classmethod
    def newest(cls, repository: Path, target: str) -> "Release":
        """Of releases that are there as a whole. Raises ValueError where a model has no version."""
        return cls({model.name: _newest_whole(model) for model in models(repository, target)})


def served(client: Client) -> Release:
    """The newest version of each model that the server has loaded."""
    return Release({name: max(map(int, client.metadata(name).versions)) for name in client.model_names()})


def pin(client: Client, repository: Path, target: str = "cpu") -> None:
    """Pins all ensembles to what is served now; for a server in the control mode `explicit`, before any publish."""
    now = served(client)
    for name, config in _ensembles(repository, target).items():
        client.load(name, _pinned(config, now), deadline_s=LOAD_DEADLINE_S)


def load(client: Client, repository: Path, target: str, release: Release) -> None:
    """Loads exactly this release into a server in the control mode `explicit` that has loaded nothing."""
    ensembles = _ensembles(repository, target)
    for name in _in_order(repository, target, release.versions.keys() - ensembles.keys()):
        config = read_config(repository / name, target)
        client.load(name, _with_versions(config, {release.versions[name]}), deadline_s=LOAD_DEADLINE_S)
    for name in ensembles.keys() & release.versions.keys():
        client.load(name, _pinned(ensembles[name], release), deadline_s=LOAD_DEADLINE_S)


def roll_out(
    client: Client,
    repository: Path,
    target: str = "cpu",
    report: Callable[[str], None] = lambda line: None,
    *,
    release: Release | None = None,
) -> Release | None:
    """Serves a release; returns what the server then says it serves of each model that changed, None where none did.

    Args:
        client: with the admin key of a server in the control mode `explicit`.
        repository: what the server serves.
        target: whose configurations it uses.
        report: told of each step.
        release: what to serve; the newest one by default.

    Raises:
        ValueError: an ensemble is not pinned, or a file of the release is not the published one.
        StartupError: a new model answers its golden requests wrong or not at all; it is taken back, and the release
            before goes on serving. A model asked by its own name was the new one meanwhile.
        ServingError: the server refused to load a model; the release before goes on serving.
    """
    before, after = served(client), release or Release.newest(repository, target)
    changed = [name for name, version in after.versions.items() if before.versions.get(name) != version]
    if not changed:
        return None
    ensembles = _ensembles(repository, target)
    for name in ensembles.keys() & before.versions.keys():
        if any(step.model_version < 1 for step in client.config(name).ensemble_scheduling.step):
            raise ValueError(f"ensemble '{name}' is not pinned: start the server with model_control='explicit'")
    for name in changed:
        manifest.verify(repository / name / str(after.versions[name]))
    for name in _in_order(repository, target, set(changed) - ensembles.keys()):
        report(f"loading {name} version {after.versions[name]}")
        config, old = read_config(repository / name, target), before.versions.get(name)
        both = {after.versions[name]} | ({old} if old else set())
        client.load(name, _with_versions(config, both), deadline_s=LOAD_DEADLINE_S)
        _check(client, repository / name, after.versions[name], _with_versions(config, {old}) if old else None)
    for name, config in ensembles.items():
        report(f"switching {name} to version {after.versions[name]}")
        known = name in before.versions
        client.load(name, _pinned(config, after), deadline_s=LOAD_DEADLINE_S)
        _check(client, repository / name, after.versions[name], _pinned(config, before) if known else None)
    now = served(client)
    return Release({name: now.versions[name] for name in changed})


def _newest_whole(model: Path) -> int:
    """The newest version all of whose release is there: a release appears model by model."""
    newest = int(latest_version(model).name)
    numbers = [int(path.name) for path in model.iterdir() if path.name.isdecimal() and not path.name.startswith("0")]
    whole = (number for number in sorted(numbers, reverse=True) if _is_whole(model, number))
    return next(whole, newest)


def _is_whole(model: Path, number: int) -> bool:
    """Earlier releases do not say of what they consist, and count as whole."""
    try:
        parts = manifest.read(model / str(number)).get("release", [])
    except ValueError:
        # It is refused by its own name when it is rolled out.
        parts = []
    return all((model.parent / part / str(number)).is_dir() for part in parts)


def _in_order(repository: Path, target: str, names: Set[str]) -> list[str]:
    """A fused ensemble is one model, bound to its steps' versions: it switches when it is loaded, so it comes last."""
    return sorted(names, key=lambda name: (read_config(repository / name, target).backend == FUSED, name))


def _ensembles(repository: Path, target: str) -> dict[str, ModelConfig]:
    configs = [read_config(model, target) for model in models(repository, target)]
    return {config.name: config for config in configs if config.platform == "ensemble"}


def _pinned(config: ModelConfig, release: Release) -> ModelConfig:
    """The ensemble with the release's version in each step."""
    pinned = _with_versions(config, {release.versions[config.name]})
    for step in pinned.ensemble_scheduling.step:
        step.model_version = release.versions[step.model_name]
    return pinned


def _with_versions(config: ModelConfig, versions: set[int]) -> ModelConfig:
    chosen = ModelConfig()
    chosen.CopyFrom(config)
    chosen.version_policy.specific.versions.extend(sorted(versions))
    return chosen


def _check(client: Client, model: Path, version: int, before: ModelConfig | None) -> None:
    """Compares the version's answers with its goldens; where one is wrong, `before` is loaded instead."""
    fault = _fault(client, model, version)
    if fault is None:
        return
    if before is not None:
        client.load(model.name, before, deadline_s=LOAD_DEADLINE_S)
    raise StartupError(f"{model.name} version {version}: {fault}; the release before goes on serving: export again")


def _fault(client: Client, model: Path, version: int) -> str | None:
    """What is wrong with the first golden answer that is."""
    for number, expected in enumerate(golden.read(model / str(version) / "golden.safetensors")):
        try:
            answer = client.infer(model.name, expected.inputs, version=str(version), deadline_s=DEADLINE_S)
        except ServingError as error:
            return f"golden request {number} failed: {error}"
        gap = golden.compare(expected.outputs, answer, TOLERANCE)
        if not gap.ok:
            return (
                f"golden request {number} is off by {gap.absolute:.3g} (relative {gap.relative:.3g}, allowed "
                f"{TOLERANCE:g})"
            )
    return None
