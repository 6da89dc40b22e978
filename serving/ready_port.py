"""A port that says whether a server is ready, for what can ask by HTTP alone: a kubelet, a load balancer, curl.

tritonserver's own health is not the same: it says SERVING before the golden requests are asked, and where clients must
show a certificate, a probe that has none does not reach it. Unlike a file, a port closes with the process.
"""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class ReadyPort:
    """Answers every GET: 200 "ready", else 503 "not ready"; a context manager."""

    def __init__(self, host: str, port: int, is_ready: Callable[[], bool]) -> None:
        """Listens from now on. `is_ready` is asked by several threads; port 0 takes a free one.

        Raises:
            ValueError: the port is taken, or the host is none of this machine.
        """

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_GET(self) -> None:
                status, text = (200, b"ready\n") if is_ready() else (503, b"not ready\n")
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: probes come every few seconds."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise ValueError(f"--ready-port {port} cannot be opened on {host}: {error}; name a free one") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="ready-port", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to ask."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
