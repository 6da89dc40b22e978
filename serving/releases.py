"""Which release of each model is served: `releases.json` in the repository, which whoever moves one replaces.

A release is what was published together under one number: the model that clients ask, by whose name it goes, and its
parts. Of a model that the file does not name, the newest release is served that is there as a whole; so it is where
nobody has ever moved one. The model configurations of the repository follow the file, so that any tritonserver that
starts on it, ours or another, serves the same.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from serving import manifest
from serving.configs import read_config
from serving.files import locked, replace_text
from serving.identity import Identity
from serving.served_configs import settle
from serving.versions import versions

FILE = "releases.json"
_LOCK = f".{FILE}.lock"


class Refused(NamedTuple):
    """A release that a server was to go to, and did not."""

    version: int
    why: str


class Standing(NamedTuple):
    """What is served under one name, and what was before."""

    served: int
    before: tuple[int, ...]
    """What was served before, the last first: where a roll-back goes."""
    since: str
    """ISO 8601, UTC."""
    why: str
    refused: Refused | None = None
    """The last attempt, where a server did not take it."""

    def at(self, version: int, why: str) -> "Standing":
        """Another release is served, and this one is where a roll-back goes."""
        before = dict.fromkeys((self.served, *self.before))
        return Standing(version, tuple(one for one in before if one != version), _now(), why)

    def back_at(self, version: int, why: str, refused: Refused | None = None) -> "Standing":
        """An earlier release is served, and what was served since is not where a roll-back goes."""
        place = self.before.index(version) + 1 if version in self.before else 0
        return Standing(version, tuple(one for one in self.before[place:] if one != version), _now(), why, refused)


def read(repository: Path) -> dict[str, Standing]:
    """What the file says, by name of the release, in the order in which they were moved; empty where there is none.

    Raises ValueError for a file that is none.
    """
    path = repository / FILE
    try:
        said = json.loads(path.read_bytes())
        return {name: _standing(one) for name, one in said.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error!r}); put an earlier one in its place, or remove it, and the newest release "
            "of each model is served"
        ) from error


def standing(repository: Path, name: str) -> Standing:
    """What is served under a name, by the file or by being the newest. Raises ValueError for a name of none."""
    return read(repository).get(name) or _newest(repository, name)


def change(repository: Path, name: str, how: Callable[[Standing], Standing]) -> Standing:
    """Replaces what is served under a name, in the configurations and then in the file; returns what is now.

    Raises ValueError for a name of none, and what `how` raises, with nothing changed.
    """
    with still(repository):
        everything = read(repository)
        now = how(everything.pop(name, None) or _newest(repository, name))
        said = {one: _as_json(standing) for one, standing in {**everything, name: now}.items()}
        served = dict.fromkeys(models_of(repository, name, now.served), now.served)
        # The file last: who reads there that it is done finds it done. A start settles what was cut off between.
        settle(repository, served)
        replace_text(repository / FILE, json.dumps(said, indent=2) + "\n")
    return now


@contextmanager
def still(repository: Path) -> Iterator[None]:
    """Nobody else changes what is served meanwhile."""
    with locked(repository / _LOCK):
        yield


def served_versions(repository: Path) -> dict[str, int]:
    """Version of each model that the file speaks of; of a model that is in several releases, that of the one which was
    moved last.

    Raises ValueError where a release is not there that is to be served.
    """
    served: dict[str, int] = {}
    for name, one in read(repository).items():
        if not (repository / name).is_dir():
            continue
        if not is_whole(repository / name, one.served):
            raise ValueError(
                f"{repository / FILE} says that {name} {one.served} is served, which is not there; name another with "
                f"recserve releases promote {name}@VERSION"
            )
        served |= dict.fromkeys(models_of(repository, name, one.served), one.served)
    return served


def hold(repository: Path, models: Mapping[str, int]) -> None:
    """Writes down what is served of these models (name -> newest version), where nobody has, so that what is published
    beside them is not."""
    written = read(repository)
    for name in {name_of(repository / model, version) for model, version in models.items()} - written.keys():
        change(repository, name, lambda now: now)


def name_of(model: Path, version: int) -> str:
    """The release that a version of a model belongs to. Raises ValueError where its manifest cannot be read."""
    whole = manifest.read(model / str(version)).get("whole")
    return str(whole) if whole else Identity.of(read_config(model, "cpu")).part_of or model.name


def models_of(repository: Path, name: str, version: int) -> tuple[str, ...]:
    """The models of a release, sorted. Raises ValueError where its manifest cannot be read."""
    listed = manifest.read(repository / name / str(version)).get("release") or [name]
    return tuple(sorted(str(model) for model in listed))


def numbers(repository: Path, name: str) -> list[int]:
    """The releases of a name that are there as a whole, ascending; none for a part of another one."""
    model = repository / name
    return [number for number in versions(model) if is_whole(model, number) and _is_named(model, number)]


def names(repository: Path) -> list[str]:
    """All names of releases, sorted."""
    return sorted(path.name for path in repository.glob("*") if path.is_dir() and numbers(repository, path.name))


def is_whole(model: Path, number: int) -> bool:
    """Whether all models of a release are there: it appears model by model. Earlier releases do not say of what they
    consist, and count as whole."""
    if not (model / str(number)).is_dir():
        return False
    try:
        parts = manifest.read(model / str(number)).get("release", [])
    except ValueError:
        # It is refused by its own name when it is rolled out.
        parts = []
    return all((model.parent / part / str(number)).is_dir() for part in parts)


def _is_named(model: Path, number: int) -> bool:
    try:
        return name_of(model, number) == model.name
    except ValueError:
        return False


def _newest(repository: Path, name: str) -> Standing:
    found = numbers(repository, name)
    if not found:
        raise ValueError(f"{repository} has no release '{name}'; it has {', '.join(names(repository)) or 'none'}")
    *before, newest = found
    since = str(manifest.read(repository / name / str(newest)).get("created", ""))
    return Standing(newest, tuple(reversed(before)), since, "the newest")


def _standing(said: Any) -> Standing:
    refused = said.get("refused")
    return Standing(
        int(said["served"]),
        tuple(map(int, said["before"])),
        str(said["since"]),
        str(said["why"]),
        None if refused is None else Refused(int(refused["version"]), str(refused["why"])),
    )


def _as_json(one: Standing) -> dict[str, Any]:
    said = one._asdict()
    refused = said.pop("refused")
    return said if refused is None else {**said, "refused": refused._asdict()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
