"""An engine for tests: answers /health, prints what it does, and misbehaves when told to.

Usage: tiny_engine.py PORT [flag ...], or with the arguments of a real engine, of which --port is read. The flags:

--say TEXT       print it on standard error
--lines N        print that many numbered lines
--exit CODE      end at once with it; after --live SECONDS of serving, with both
--signal NUMBER  the same, by a signal to itself
--live SECONDS   serve only for so long
--eat            take memory until there is none
--await FILE     listen only once the file exists
--never-ready    answer 503
--sick FILE      answer 503 while the file exists
--hold FILE      answer nothing before the file exists
--only PATH      answer 404 on every other path
--models FILE    list its lines as models at /v1/models
--ignore-term    do not end on SIGTERM
--tick SECONDS   go on printing numbered lines, with a pause between two
"""

import http.server
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    """200 on every path, with the process id; 503 while never ready, or while the file named by --sick exists.

    No answer before the file named by --hold exists.
    """

    def do_GET(self) -> None:
        if "--hold" in sys.argv:
            print("asked for", self.path, flush=True)
            while not Path(_after("--hold")).exists():
                time.sleep(0.02)
        sick = "--never-ready" in sys.argv or ("--sick" in sys.argv and Path(_after("--sick")).exists())
        body = str(os.getpid())
        if self.path == "/v1/models" and "--models" in sys.argv:
            names = Path(_after("--models")).read_text().split()
            body = json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        unknown = "--only" in sys.argv and self.path not in {"/", _after("--only")}
        self.send_response(503 if sick else 404 if unknown else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not what an engine prints."""


def _after(flag: str) -> str:
    return sys.argv[sys.argv.index(flag) + 1]


def _end() -> None:
    """End in the way that was asked for."""
    if "--signal" in sys.argv:
        os.kill(os.getpid(), int(_after("--signal")))
    os._exit(int(_after("--exit")) if "--exit" in sys.argv else 0)


def _tick() -> None:
    number = 0
    while True:
        print("tick", os.getpid(), number, flush=True)
        number += 1
        time.sleep(float(_after("--tick")))


def _serve() -> None:
    if "--live" in sys.argv:
        threading.Timer(float(_after("--live")), _end).start()
    elif "--exit" in sys.argv or "--signal" in sys.argv:
        _end()
    taken: list[bytes] = []
    while "--eat" in sys.argv:
        taken.append(os.urandom(1 << 20))
    if "--tick" in sys.argv:
        threading.Thread(target=_tick, daemon=True).start()
    while "--await" in sys.argv and not Path(_after("--await")).exists():
        time.sleep(0.01)
    port = int(_after("--port") if "--port" in sys.argv else sys.argv[1])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    if "--ignore-term" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("engine pid", os.getpid(), "port", _after("--port") if "--port" in sys.argv else sys.argv[1], flush=True)
    if "--say" in sys.argv:
        print(_after("--say"), file=sys.stderr, flush=True)
    for number in range(int(_after("--lines")) if "--lines" in sys.argv else 0):
        print("line", number, flush=True)
    _serve()
