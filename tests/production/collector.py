"""A receiver of OTLP over HTTP in JSON, in place of an OpenTelemetry collector."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Collector:
    """Keeps the spans of all requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[dict[str, Any]] = []
        self.status = 200
        self.hang = threading.Event()
        """While it is set, nobody is answered."""

    def of(self, trace_id: str) -> dict[str, dict[str, Any]]:
        """The spans of one trace, by span id."""
        return {span["spanId"]: span for span in [*self.spans] if span["traceId"] == trace_id}


@contextmanager
def collector() -> Iterator[Collector]:
    """One that runs inside, on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            while found.hang.is_set():
                found.hang.wait(0.05)
            for resource in json.loads(body)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    found.spans += scope["spans"] if found.status == 200 else ()
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}/v1/traces")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        found.hang.clear()
        server.shutdown()
        server.server_close()
        thread.join()
