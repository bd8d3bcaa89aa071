"""An engine for provider tests: a small HTTP server run as a process of its own, with some bad habits to switch on.

GET /env gives its environment, /argv its arguments, /pid its pid, /print?text=... prints a line, anything else "ok".
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

SLEEPER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        answers = {"/env": dict(os.environ), "/argv": sys.argv[1:], "/pid": os.getpid()}
        if url.path == "/print":
            print(parse_qs(url.query)["text"][0], flush=True)
        body = json.dumps(answers.get(url.path, "ok")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: what is printed is what the test asked for."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--exit-code", type=int)
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--child", action="store_true", help="start a process in the same group")
    parser.add_argument("--escaped-child", action="store_true", help="start a process in a session of its own")
    parser.add_argument("--delay", type=float, default=0)
    options, _ = parser.parse_known_args()
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.child:
        subprocess.Popen(SLEEPER)
    if options.escaped_child:
        subprocess.Popen(SLEEPER, start_new_session=True)
    for number in range(options.lines):
        print(f"line {number}", flush=True)
        time.sleep(options.delay)
    if options.exit_code is not None:
        sys.exit(options.exit_code)
    server = HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
    print("listening", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
