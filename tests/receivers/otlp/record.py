"""Records what an emitter sends, as golden payloads: `python tests/receivers/otlp/record.py NAME`, then run it.

It takes OTLP/HTTP on 127.0.0.1:4318 and writes each body, unpacked, to payloads/NAME.SIGNAL.N.otlp.pb (or .json) until
Ctrl-C. Look through what is written before it is committed: an emitter that captures content has it in there.
"""

import argparse
import gzip
import itertools
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from typing_extensions import override

SIGNALS = {"/v1/traces": "traces", "/v1/logs": "logs", "/v1/metrics": "metrics"}
ENDINGS = {"application/x-protobuf": "pb", "application/json": "json"}


def handler(name: str, folder: Path) -> type[BaseHTTPRequestHandler]:
    """What answers a sender: 200 and nothing more, after the body is written."""
    numbers = defaultdict[str, "itertools.count[int]"](itertools.count)

    class Recorder(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Write the body of a signal; anything else is not found."""
            media = self.headers.get_content_type()
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = self.path in SIGNALS and media in ENDINGS
            if known:
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                signal = SIGNALS[self.path]
                path = folder / f"{name}.{signal}.{next(numbers[signal])}.otlp.{ENDINGS[media]}"
                path.write_bytes(body)
                print(path, flush=True)
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", "0")
            self.end_headers()

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing of requests: what was written is printed."""

    return Recorder


def main() -> None:
    """Record until interrupted."""
    parser = argparse.ArgumentParser(description="Record what an emitter of OTLP/HTTP sends.")
    parser.add_argument("name", metavar="NAME", help="what the emitter's payloads are called")
    parser.add_argument("--port", type=int, default=4318, help="where to listen on 127.0.0.1 (default: 4318, 0: any)")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "payloads", help="the folder to write to")
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), handler(arguments.name, arguments.to))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
