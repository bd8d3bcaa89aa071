"""An engine that prints a lot: answers every path and prints numbered lines, each with its time, at a steady rate.

Usage: flood_engine.py PORT LINES RATE. PORT 0: it serves nothing, and sleeps once all is printed.
"""

import http.server
import sys
import threading
import time

TEXT = "INFO 01-01 12:00:00 engine.py:310] throughput: prompt 1834.2 tokens/s, generation 912.7 tokens/s"


class Handler(http.server.BaseHTTPRequestHandler):
    """200 on every path."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not what is printed."""


def flood(lines: int, rate: float) -> None:
    """Print the lines, each in a write of its own."""
    began = time.perf_counter()
    for number in range(1, lines + 1):
        if (ahead := began + number / rate - time.perf_counter()) > 0.001:
            time.sleep(ahead)
        print(f"{time.time():.6f} {number} {TEXT}", flush=True)


if __name__ == "__main__":
    port, lines, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    printing = threading.Thread(target=flood, args=(lines, rate))
    printing.start()
    if port:
        http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
    printing.join()
    time.sleep(600)
