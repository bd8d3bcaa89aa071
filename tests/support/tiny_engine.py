"""An engine for tests: answers /health, prints what it does, and misbehaves when told to.

Usage: tiny_engine.py PORT [--say TEXT] [--exit CODE] [--never-ready] [--ignore-term] [--lines N]
"""

import http.server
import os
import signal
import sys
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    """200 on every path, with the process id; 503 while never ready, or while the file named by --sick exists."""

    def do_GET(self) -> None:
        sick = "--never-ready" in sys.argv or ("--sick" in sys.argv and Path(_after("--sick")).exists())
        body = str(os.getpid()).encode()
        self.send_response(503 if sick else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not what an engine prints."""


def _after(flag: str) -> str:
    return sys.argv[sys.argv.index(flag) + 1]


if __name__ == "__main__":
    if "--ignore-term" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("engine pid", os.getpid(), "port", sys.argv[1], flush=True)
    if "--say" in sys.argv:
        print(_after("--say"), file=sys.stderr, flush=True)
    for number in range(int(_after("--lines")) if "--lines" in sys.argv else 0):
        print("line", number, flush=True)
    if "--exit" in sys.argv:
        sys.exit(int(_after("--exit")))
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
