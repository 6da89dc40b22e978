"""Which servers take requests, and how large a share each: `servers.json`, and `endpoints.yaml` for Envoy out of it.

Both are replaced as a whole while an edge runs. Envoy's file has no word for a server that is known and gets nothing
whatever happens: where no other server is healthy, Envoy asks all that it is told of. So a drained server is left out
there, and stands only in the first.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from serving.edge.address import Address
from serving.edge.description import Edge
from serving.files import locked, replace_text

SERVERS, _RELEASE = "servers", "release-"
"""Envoy's names of pools: of requests that name no release, and of those that do."""
OUT = "DRAINING"
"""A server that is sent nothing more and still has requests under way."""
_IN = "UNKNOWN"
_RECORD = "servers.json"
LOCK = ".lock"
"""Of whoever writes them, for as long as that takes."""
_HEAD = "# Shifted by recserve edge weight and recserve edge drain; Envoy reads it as soon as it is replaced.\n"
_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


class Endpoint(NamedTuple):
    """A server of one pool."""

    release: str
    """Whose pool it is; empty for requests that name no release."""
    address: Address
    weight: int
    drained: bool = False

    @property
    def name(self) -> str:
        """host:port"""
        return str(self.address)


def pool_of(release: str) -> str:
    """Envoy's name of a pool."""
    return f"{_RELEASE}{release}" if release else SERVERS


def release_of(pool: str) -> str:
    """The inverse of `pool_of`."""
    return pool.removeprefix(_RELEASE) if pool != SERVERS else ""


def file_of(folder: Path, release: str) -> Path:
    """Where Envoy reads the servers of a pool."""
    return folder / (f"endpoints-{release}.yaml" if release else "endpoints.yaml")


def begin(edge: Edge, folder: Path) -> None:
    """Writes the files as an edge starts; those of pools that it does not have go."""
    servers = [Endpoint(release, one.address, one.weight) for release, pool in edge.pools for one in pool]
    kept = {file_of(folder, release) for release, _ in edge.pools}
    for old in {*folder.glob("endpoints*.yaml")} - kept:
        old.unlink()
    _write(folder, servers)


def read(folder: Path) -> list[Endpoint]:
    """The servers of all pools. Raises ValueError where there is no edge, or a file that is not ours."""
    try:
        return [_endpoint(one) for one in json.loads((folder / _RECORD).read_text())]
    except (FileNotFoundError, NotADirectoryError):
        made = f"recserve edge --servers HOST:PORT HOST:PORT --out {folder} makes one"
        raise ValueError(f"{folder} holds no edge; {made}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / _RECORD} is not what recserve edge writes ({error!r}); run that again") from error


def change(
    folder: Path, names: Collection[str], how: Callable[[Endpoint], Endpoint], *, leaving: bool = False
) -> list[Endpoint]:
    """Changes servers by name, in all pools that have them, or nothing; all servers as they are now.

    Args:
        leaving: of those that are now drained, requests may be under way: Envoy still hears of them.

    Raises:
        ValueError: there is no edge, no such server, or none would take the requests that name no release.
    """
    read(folder)
    with locked(folder / LOCK):
        before = read(folder)
        known = sorted({one.name for one in before})
        if unknown := sorted({*names} - {*known}):
            raise ValueError(f"{folder} has no server {', '.join(unknown)}; it has {', '.join(known)}")
        after = [how(one) if one.name in names else one for one in before]
        if all(one.drained for one in after if not one.release):
            raise ValueError(
                f"{', '.join(names)}: no server would take requests; bring one back first, with recserve edge weight"
            )
        _write(folder, after, names if leaving else ())
    return after


def told(servers: Iterable[Endpoint], leaving: Collection[str] = ()) -> list[Endpoint]:
    """What Envoy is told of."""
    return [one for one in servers if not one.drained or one.name in leaving]


def _write(folder: Path, servers: Sequence[Endpoint], leaving: Collection[str] = ()) -> None:
    record = [{**one._asdict(), "address": one.name} for one in servers]
    replace_text(folder / _RECORD, json.dumps(record, indent=1) + "\n")
    for release in dict.fromkeys(one.release for one in servers):
        pool = [_written(one) for one in told(servers, leaving) if one.release == release]
        resource = {"@type": _TYPE, "cluster_name": pool_of(release), "endpoints": [{"lb_endpoints": pool}]}
        text = _HEAD + yaml.safe_dump({"resources": [resource]}, sort_keys=False, width=120)
        path = file_of(folder, release)
        if not path.is_file() or path.read_text() != text:
            replace_text(path, text)


def _written(one: Endpoint) -> dict[str, Any]:
    return {
        # Beside the number the name that it goes by, which Envoy does not look up.
        "endpoint": {"address": one.address.socket(), "hostname": one.address.host},
        "load_balancing_weight": one.weight,
        "health_status": OUT if one.drained else _IN,
    }


def _endpoint(found: dict[str, Any]) -> Endpoint:
    return Endpoint(found["release"], Address.of(found["address"], "server"), found["weight"], found["drained"])
