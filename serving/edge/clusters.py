"""The side of the servers: how one is chosen, when it is left out, and what is tried again."""

from pathlib import Path
from typing import Any

from serving.edge.description import Edge, Retries, Server
from serving.edge.endpoints import file_of, pool_of

_LEFT = ("has no available versions", "is stopping")
"""In the message of a refusal: the server is being stopped, and has unloaded the model. No other NOT_FOUND and no full
queue is tried again here: the first fails again, the second would become a storm."""


def cluster(edge: Edge, folder: Path, release: str, servers: tuple[Server, ...]) -> dict[str, Any]:
    """Of Envoy's static resources; its servers are read from a file that is watched."""
    found: dict[str, Any] = {
        "name": pool_of(release),
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {
                "path_config_source": {
                    "path": str(file_of(folder, release).resolve()),
                    "watched_directory": {"path": str(folder.resolve())},
                }
            }
        },
        "connect_timeout": "1s",
        # A user's requests go to one server, where the state is; weights are shares of the table, so that of users.
        "lb_policy": "MAGLEV",
        "common_lb_config": {
            # All are tried only where none is healthy: one of them may be back before it is known to be.
            "healthy_panic_threshold": {"value": 1.0},
        },
        "ignore_health_on_host_removal": True,
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "health_checks": [_health()],
        "outlier_detection": _outliers(),
        "circuit_breakers": {"thresholds": [_thresholds(edge.retries)]},
    }
    if edge.server_tls is not None:
        found["transport_socket"] = edge.server_tls.context([one.address for one in servers])
    return found


_LOOKED = 10_000
"""Places of the MAGLEV table that are tried for another server than those asked before. Each is drawn by weight, from
the user's hash alone: with a few, some users would be sent to a lost server again and again."""


def retry_policy(retries: Retries) -> dict[str, Any]:
    """Of a route."""
    return {
        # `reset`: also a request that was sent already.
        "retry_on": "connect-failure,refused-stream,reset,retriable-headers",
        "num_retries": retries.attempts,
        "per_try_idle_timeout": f"{retries.try_timeout_s:g}s",
        "retry_back_off": {"base_interval": "0.05s", "max_interval": "1s"},
        "retriable_headers": [{"name": "grpc-message", "string_match": {"contains": text}} for text in _LEFT],
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": _LOOKED,
    }


def _health() -> dict[str, Any]:
    return {
        "grpc_health_check": {},
        "timeout": "2s",
        "interval": "1s",
        # Also where nothing was asked yet; the default is a minute.
        "no_traffic_interval": "1s",
        "unhealthy_interval": "0.25s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
    }


def _outliers() -> dict[str, Any]:
    """Connections that fail, before the next health check finds out; what a model answers is not its server's fault."""
    return {
        "interval": "0.5s",
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 2,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        # A server is back after a second or two; the default keeps it out for half a minute.
        "base_ejection_time": "1s",
        "max_ejection_time": "5s",
        "max_ejection_percent": 100,
    }


def _thresholds(retries: Retries) -> dict[str, Any]:
    return {
        "max_connections": 1024,
        "max_pending_requests": 4096,
        "max_requests": 4096,
        "retry_budget": {
            "budget_percent": {"value": retries.budget_percent},
            "min_retry_concurrency": retries.budget_at_least,
        },
    }
