"""Takes a running server from one release to another, newer or older, without a failed request.

Models of a release are loaded one after the other, and an ensemble whose steps follow "the newest version" would mix
two releases meanwhile. So ensembles are pinned: to the versions that serve, right after the start, and to others in a
single step, after every model has answered its golden requests.

tritonserver answers who names no version from the highest one that is loaded. So on the way up the version before stays
loaded, until the next roll-out, and requests under way end where they began; on the way down the higher one is unloaded
last, what clients ask first, and the parts of a release only when no request of it is left that may ask them.
"""

import contextlib
import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from recserve_client.errors import ServerUnavailable, ServingError
from serving import golden, manifest, releases
from serving.admin import Admin
from serving.configs import FUSED, read_config
from serving.readiness import DEADLINE_S, TOLERANCE, models
from serving.served_configs import with_versions
from serving.startup import StartupError
from serving.versions import compile_sources, latest_version, versions

LOAD_DEADLINE_S = 300.0
DRAIN_DEADLINE_S = 60.0
_POLL_S = 0.02


class Release(NamedTuple):
    """The version of each model of a repository that is served."""

    versions: dict[str, int]

    @classmethod
    def wanted(cls, repository: Path, target: str) -> "Release":
        """What `releases.json` says, and of models that it does not speak of the newest that is there as a whole.

        Raises ValueError where a model has no version, or where a release is not there that is to be served.
        """
        said = releases.served_versions(repository)
        return cls({one.name: said.get(one.name) or _newest_whole(one) for one in models(repository, target)})


def served(client: Admin) -> Release:
    """The version of each loaded model that answers who names none."""
    return Release({name: max(found) for name, found in _loaded(client).items()})


def pin(client: Admin, repository: Path, target: str = "cpu") -> None:
    """Pins all ensembles to what is served now; for a server in the control mode `explicit`, before any roll-out."""
    now = served(client)
    for name, config in _ensembles(repository, target).items():
        client.load(name, _pinned(repository, config, now), deadline_s=LOAD_DEADLINE_S)


def load(client: Admin, repository: Path, target: str, release: Release) -> None:
    """Loads exactly this release into a server in the control mode `explicit` that has loaded nothing."""
    ensembles = _ensembles(repository, target)
    for name in _in_order(repository, target, release.versions.keys() - ensembles.keys()):
        config = with_versions(repository / name, read_config(repository / name, target), {release.versions[name]})
        client.load(name, config, deadline_s=LOAD_DEADLINE_S)
    for name in ensembles.keys() & release.versions.keys():
        client.load(name, _pinned(repository, ensembles[name], release), deadline_s=LOAD_DEADLINE_S)


def roll_out(
    client: Admin,
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
        release: what to serve; by default what the repository says. A model that it does not name stays as it is.

    Raises:
        ValueError: an ensemble is not pinned, or a file of the release is not the published one; nothing was loaded.
        StartupError: a model answers its golden requests wrong or not at all; all that was loaded is taken back, and
            the release before goes on serving. A model asked by its own name was the other one meanwhile.
        ServingError: the server refused to load a model, or is gone; taken back as well.
    """
    after = release or Release.wanted(repository, target)
    loaded = _loaded(client)
    before = Release({name: max(found) for name, found in loaded.items()})
    changed = {name for name, version in after.versions.items() if before.versions.get(name) != version}
    if not changed:
        return None
    ensembles = _ensembles(repository, target)
    for name in ensembles.keys() & before.versions.keys():
        if any(step.model_version < 1 for step in client.config(name).ensemble_scheduling.step):
            raise ValueError(f"ensemble '{name}' is not pinned: start the server with model_control='explicit'")
    for name in changed:
        manifest.verify(repository / name / str(after.versions[name]))
    move = _Move(client, repository, target, ensembles, loaded, after, report)
    try:
        move.run(_in_order(repository, target, changed - ensembles.keys()))
    except BaseException:
        move.take_back()
        raise
    now = served(client)
    return Release({name: now.versions[name] for name in changed})


@dataclass
class _Move:
    """One roll-out, step by step, which can be taken back."""

    client: Admin
    repository: Path
    target: str
    ensembles: dict[str, ModelConfig]
    loaded: dict[str, set[int]]
    """Before."""
    after: Release
    report: Callable[[str], None]
    touched: list[str] = field(default_factory=list)

    @property
    def before(self) -> Release:
        return Release({name: max(found) for name, found in self.loaded.items()})

    def run(self, names: list[str]) -> None:
        """`names`: those that change and are no ensembles, parts first."""
        for name in names:
            self._beside(name)
        everything = Release(self.before.versions | self.after.versions)
        for name in self.ensembles.keys() & everything.versions.keys():
            self.report(f"switching {name} to version {everything.versions[name]}")
            self._load(name, _pinned(self.repository, self.ensembles[name], everything))
            self._check(name, everything.versions[name])
            self._drain(name, everything.versions[name])
        for name in reversed(names):
            if self.after.versions[name] < self.before.versions.get(name, 0):
                self.report(f"switching {name} to version {self.after.versions[name]}")
                self._load(name, self._config(name, {self.after.versions[name]}))
                self._drain(name, self.after.versions[name])

    def take_back(self) -> None:
        """Loads what was loaded before, as far as the server still does."""
        for name in reversed(self.touched):
            with contextlib.suppress(ServingError, ValueError, OSError):
                if name not in self.loaded:
                    self.client.unload(name)
                elif name in self.ensembles:
                    self._load(name, _pinned(self.repository, self.ensembles[name], self.before))
                else:
                    self._load(name, self._config(name, self.loaded[name]))

    def _beside(self, name: str) -> None:
        """Loads a model beside the version that serves, and asks it."""
        version, old = self.after.versions[name], self.before.versions.get(name)
        both = {version} | ({old} if old else set())
        if self.loaded.get(name) != both or self.ensembles:
            self.report(f"loading {name} version {version}")
            self._load(name, self._config(name, both))
        self._check(name, version)

    def _drain(self, name: str, version: int) -> None:
        """Returns when no other version of the model answers a request."""
        deadline = time.monotonic() + DRAIN_DEADLINE_S
        while self._others(name, version):
            if time.monotonic() > deadline:
                raise StartupError(f"{name} {self._others(name, version)} did not end within {DRAIN_DEADLINE_S:g} s")
            time.sleep(_POLL_S)

    def _others(self, name: str, version: int) -> list[str]:
        states = self.client.version_states(name)
        return [other for other, state in states.items() if other != str(version) and state != "UNAVAILABLE"]

    def _load(self, name: str, config: ModelConfig) -> None:
        # With an ensemble tritonserver loads the steps whose files have changed anew, in the versions of the files'
        # policy; so nothing may change behind it, as it does where a step's process writes its bytecode.
        for version in config.version_policy.specific.versions if self.ensembles else ():
            compile_sources(self.repository / name / str(version))
        if name not in self.touched:
            self.touched.append(name)
        self.client.load(name, config, deadline_s=LOAD_DEADLINE_S)

    def _config(self, name: str, chosen: set[int]) -> ModelConfig:
        model = self.repository / name
        return with_versions(model, read_config(model, self.target), chosen)

    def _check(self, name: str, version: int) -> None:
        """Compares the version's answers with its goldens. Raises StartupError."""
        fault = _fault(self.client, self.repository / name, version)
        if fault is not None:
            raise StartupError(f"{name} version {version}: {fault}; the release before goes on serving: export again")


def _loaded(client: Admin) -> dict[str, set[int]]:
    return {name: set(map(int, client.metadata(name).versions)) for name in client.model_names()}


def _newest_whole(model: Path) -> int:
    """The newest version all of whose release is there: a release appears model by model."""
    newest = int(latest_version(model).name)
    return next((number for number in reversed(versions(model)) if releases.is_whole(model, number)), newest)


def _in_order(repository: Path, target: str, names: Set[str]) -> list[str]:
    """A fused ensemble is one model, bound to its steps' versions: it switches when it is loaded, so it comes last."""
    return sorted(names, key=lambda name: (read_config(repository / name, target).backend == FUSED, name))


def _ensembles(repository: Path, target: str) -> dict[str, ModelConfig]:
    configs = [read_config(model, target) for model in models(repository, target)]
    return {config.name: config for config in configs if config.platform == "ensemble"}


def _pinned(repository: Path, config: ModelConfig, release: Release) -> ModelConfig:
    """The ensemble with the release's version in each step."""
    pinned = with_versions(repository / config.name, config, {release.versions[config.name]})
    for step in pinned.ensemble_scheduling.step:
        step.model_version = release.versions[step.model_name]
    return pinned


def _fault(client: Admin, model: Path, version: int) -> str | None:
    """What is wrong with the first golden answer that is."""
    for number, expected in enumerate(golden.read(model / str(version) / "golden.safetensors")):
        try:
            answer = client.infer(model.name, expected.inputs, version=str(version), deadline_s=DEADLINE_S)
        except ServerUnavailable:
            # It says nothing about the model.
            raise
        except ServingError as error:
            return f"golden request {number} failed: {error}"
        gap = golden.compare(expected.outputs, answer, TOLERANCE)
        if not gap.ok:
            return (
                f"golden request {number} is off by {gap.absolute:.3g} (relative {gap.relative:.3g}, allowed "
                f"{TOLERANCE:g})"
            )
    return None
