"""`envoy.yaml`: all that does not change while an edge runs."""

from pathlib import Path
from typing import Any

import yaml

from serving.edge import clusters, endpoints
from serving.edge.description import Edge
from serving.edge.listener import listener
from serving.files import locked, replace_text

FILE = "envoy.yaml"
_MOST_CONNECTIONS = 10_000
HEAP_BYTES = 4 * 2**30
"""Beyond nine tenths of it no request is taken: each may be as large as the bound, and is kept until it is whole."""
_RESETS = {
    # A connection is closed whose first twenty requests its client took back within a second, or half of all.
    "overload.premature_reset_total_stream_count": 40,
    "overload.premature_reset_min_stream_lifetime_seconds": 1,
}
_HEAD = "# Written by recserve edge; to change it, run that again. Traffic is shifted by the files of its servers.\n"


def write(edge: Edge, folder: Path) -> Path:
    """Writes envoy.yaml, and the servers as `endpoints.begin` does; the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    edge.access_log.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder / endpoints.LOCK):
        endpoints.begin(edge, folder)
    path = folder / FILE
    replace_text(path, _HEAD + yaml.safe_dump(bootstrap(edge, folder), sort_keys=False, width=120))
    return path


def bootstrap(edge: Edge, folder: Path) -> dict[str, Any]:
    """What Envoy reads at its start."""
    return {
        # By its folder: who asks at the port of administration thereby knows whether it is this edge's.
        "node": {"id": str(folder.resolve()), "cluster": "edge"},
        "admin": {"address": edge.admin.socket()},
        "layered_runtime": {"layers": [{"name": "edge", "static_layer": _RESETS}]},
        "overload_manager": _overload(),
        "static_resources": {
            "listeners": [listener(edge)],
            "clusters": [clusters.cluster(edge, folder, release, servers) for release, servers in edge.pools],
        },
    }


def _overload() -> dict[str, Any]:
    monitors = "type.googleapis.com/envoy.extensions.resource_monitors."
    heap, connections = (
        "envoy.resource_monitors.fixed_heap",
        "envoy.resource_monitors.global_downstream_max_connections",
    )
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": heap,
                "typed_config": {
                    "@type": monitors + "fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": HEAP_BYTES,
                },
            },
            {
                "name": connections,
                "typed_config": {
                    "@type": monitors + "downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": _MOST_CONNECTIONS,
                },
            },
        ],
        "actions": [
            {
                "name": "envoy.overload_actions.stop_accepting_requests",
                "triggers": [{"name": heap, "threshold": {"value": 0.9}}],
            }
        ],
    }
