"""The side of the clients: what is let through, what it is told else, and where it goes."""

from typing import Any

from recserve_client.headers import REQUEST_ID
from recserve_client.statuses import ADMIN_HEADER, NO_RELEASE
from serving.edge.clusters import retry_policy
from serving.edge.description import Edge, Rate
from serving.edge.endpoints import pool_of
from serving.edge.tokens import HEALTH

USER, RELEASE = "x-user-id", "x-release"
"""Headers: whose request it is, and which release is to answer it."""
INFER = "/inference.GRPCInferenceService/ModelInfer"
OPEN = (
    *HEALTH,
    *(
        f"/inference.GRPCInferenceService/{name}"
        for name in (
            "ServerMetadata",
            "ModelMetadata",
            "ModelConfig",
            "ModelStatistics",
        )
    ),
    INFER,
)
"""All that passes. Streams do not: a request is kept until it is whole, and may be sent twice."""
_FRAME_BYTES = 5
"""Of gRPC, before each message."""
_LONGEST_S = 60
_USERS = 10_000
"""Users whose rates are known at once; of more, the one who asked longest ago starts anew."""
_NOBODY = "no-user"
_FILTER = "type.googleapis.com/envoy.extensions.filters."


def listener(edge: Edge) -> dict[str, Any]:
    """Of Envoy's static resources."""
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": _manager(edge)}]}
    if edge.tls is not None:
        chain["transport_socket"] = edge.tls.context()
    return {
        "name": "edge",
        "address": edge.listen.socket(),
        # Else the kernel spreads connections over all that listen there, a forgotten edge with other policies too.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": 2**20,
        "filter_chains": [chain],
    }


def _manager(edge: Edge) -> dict[str, Any]:
    return {
        "@type": _FILTER + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "HTTP2",
        "http2_protocol_options": {"max_concurrent_streams": 100},
        "common_http_protocol_options": {"idle_timeout": "3600s"},
        # Whoever sends slower than this, or nothing, is no client of ours.
        "request_timeout": f"{_LONGEST_S}s",
        "use_remote_address": True,
        # Headers that steer Envoy are nobody's to send.
        "internal_address_config": {"unix_sockets": False, "cidr_ranges": []},
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "access_log": [_access_log(edge)],
        "local_reply_config": {"mappers": [_too_large(edge), _no_release(edge)]},
        "http_filters": [{"name": name, "typed_config": typed} for name, typed in _filters(edge).items()],
        "route_config": _routes(edge),
    }


def _filters(edge: Edge) -> dict[str, dict[str, Any]]:
    """In order: who asks, whether that may be asked, how often, how large it is."""
    found = {"tokens": edge.tokens.filter()} if edge.tokens else {}
    found["paths"] = {"@type": _FILTER + "http.rbac.v3.RBAC", "rules": _open_paths()}
    if edge.rate or edge.user_rate:
        found["rates"] = _rates(edge)
    limit = edge.max_request_bytes + _FRAME_BYTES
    found["size"] = {"@type": _FILTER + "http.buffer.v3.Buffer", "max_request_bytes": limit}
    found["router"] = {"@type": _FILTER + "http.router.v3.Router", "suppress_envoy_headers": True}
    return found


def _open_paths() -> dict[str, Any]:
    paths = [{"url_path": {"path": {"exact": path}}} for path in OPEN]
    return {"action": "ALLOW", "policies": {"open": {"permissions": paths, "principals": [{"any": True}]}}}


def _rates(edge: Edge) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100}}
    found: dict[str, Any] = {
        "@type": _FILTER + "http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "edge",
        "filter_enabled": always,
        "filter_enforced": always,
        # Else a client hears UNAVAILABLE, which it would repeat.
        "rate_limited_as_resource_exhausted": True,
        # A rate of all that nobody reaches, where only that of a user is wanted.
        "token_bucket": _bucket(edge.rate or Rate(2**31)),
    }
    if edge.user_rate:
        found |= {"max_dynamic_descriptors": _USERS} | _by_user(edge.user_rate)
    return found


def _by_user(rate: Rate) -> dict[str, Any]:
    """A bucket for each user, and for each address that asks a model for no user; what clients ask for themselves,
    such as health and metadata, has no user to name."""
    bucket = _bucket(rate)
    user = {"request_headers": {"header_name": USER, "descriptor_key": USER, "skip_if_absent": True}}
    is_nobody = {"name": USER, "string_match": {"exact": ""}, "treat_missing_header_as_empty": True}
    headers = [is_nobody, {"name": ":path", "string_match": {"exact": INFER}}]
    nobody = {"header_value_match": {"descriptor_key": _NOBODY, "descriptor_value": "yes", "headers": headers}}
    return {
        "descriptors": [
            {"entries": [{"key": USER}], "token_bucket": bucket},
            {"entries": [{"key": _NOBODY, "value": "yes"}, {"key": "remote_address"}], "token_bucket": bucket},
        ],
        "rate_limits": [{"actions": [user]}, {"actions": [nobody, {"remote_address": {}}]}],
    }


def _bucket(rate: Rate) -> dict[str, Any]:
    return {
        "max_tokens": rate.requests,
        "tokens_per_fill": rate.requests,
        "fill_interval": f"{rate.seconds}s",
    }


def _routes(edge: Edge) -> dict[str, Any]:
    own = [_route(edge, pool_of(name), name) for name in edge.releases]
    unknown = {
        "match": {"prefix": "/", "headers": [{"name": RELEASE, "present_match": True}]},
        "direct_response": {"status": 404},
    }
    host: dict[str, Any] = {
        "name": "edge",
        "domains": ["*"],
        "routes": [*own, unknown, _route(edge, pool_of(""), None)],
        # The deadline ends here: a server need not know it, and 2.51 dies of short ones. Nor need it be told a key.
        "request_headers_to_remove": ["grpc-timeout", ADMIN_HEADER],
        "request_body_buffer_limit": edge.max_request_bytes + _FRAME_BYTES,
        "include_request_attempt_count": False,
    }
    return {"name": "edge", "virtual_hosts": [host]}


def _route(edge: Edge, cluster: str, release: str | None) -> dict[str, Any]:
    match: dict[str, Any] = {"prefix": "/"}
    if release is not None:
        match["headers"] = [{"name": RELEASE, "string_match": {"exact": release}}]
    return {
        "match": match,
        "route": {
            "cluster": cluster,
            # No limit but the client's own deadline, or, of a client without one, the longest.
            "timeout": "0s",
            "max_stream_duration": {"max_stream_duration": f"{_LONGEST_S}s", "grpc_timeout_header_max": "0s"},
            "hash_policy": [{"header": {"header_name": USER}}],
            "retry_policy": retry_policy(edge.retries),
        },
    }


def _too_large(edge: Edge) -> dict[str, Any]:
    text = f"message larger than {edge.max_request_bytes} bytes, the most that the edge takes"
    return _mapper(413, 8, text)  # RESOURCE_EXHAUSTED, as a gRPC server says it


def _no_release(edge: Edge) -> dict[str, Any]:
    known = ", ".join(edge.releases) or "none"
    return _mapper(404, 5, f"the edge has {NO_RELEASE}; it has {known}")  # NOT_FOUND


def _mapper(status: int, grpc_status: int, text: str) -> dict[str, Any]:
    """What a reply of Envoy's own says to a gRPC client."""
    value = {"default_value": status, "runtime_key": "unused"}
    header = {"header": {"key": "grpc-status", "value": str(grpc_status)}}
    return {
        "filter": {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}},
        "headers_to_add": [{**header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "body_format_override": {"text_format_source": {"inline_string": text}},
    }


def _access_log(edge: Edge) -> dict[str, Any]:
    fields = {
        "time": "%START_TIME%",
        "request_id": f"%REQ({REQUEST_ID})%",
        "traceparent": "%REQ(traceparent)%",
        "path": "%REQ(:PATH)%",
        "grpc_status": "%GRPC_STATUS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "transport": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "ms": "%DURATION%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "server": "%UPSTREAM_HOST%",
        "pool": "%UPSTREAM_CLUSTER%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "release": f"%REQ({RELEASE})%",
    }
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(edge.access_log.resolve()),
        "log_format": {"json_format": fields},
    }
    return {"name": "file", "typed_config": typed}
