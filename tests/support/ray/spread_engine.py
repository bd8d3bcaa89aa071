"""An engine with a worker on each of its nodes, placed by Ray: run by a Python that has ray, as a job of the cluster.

GET / tells once all workers are there: the nodes that they are on, the GPUs that each was given, and what each finds in
a variable of the deployment.
"""

import importlib
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

# By name: it is not among the packages that the project is checked with.
ray: Any = importlib.import_module("ray")
groups: Any = importlib.import_module("ray.util.placement_group")
strategies: Any = importlib.import_module("ray.util.scheduling_strategies")

NODES, EACH = (int(os.environ[f"ORCHESTRATION_{name}"]) for name in ("NODES", "GPUS_PER_NODE"))
WITHIN_S = 100


class Worker:
    """Holds the GPUs of one node."""

    def where(self) -> "tuple[str, int, str]":
        """The node, how many GPUs were given to it, and what the deployment says."""
        context = ray.get_runtime_context()
        return context.get_node_id(), len(context.get_accelerator_ids()["GPU"]), os.environ.get("SAID", "")


def main() -> None:
    """Place the workers, then serve to the end."""
    assert sys.argv[1:] == [str(NODES), str(EACH)], sys.argv
    ray.init(address="auto", log_to_driver=False)
    group = groups.placement_group([{"GPU": EACH}] * NODES, strategy="STRICT_SPREAD")
    ray.get(group.ready(), timeout=WITHIN_S)
    in_bundle = strategies.PlacementGroupSchedulingStrategy
    kind = ray.remote(num_cpus=0, num_gpus=EACH)(Worker)
    workers = [
        kind.options(scheduling_strategy=in_bundle(group, placement_group_bundle_index=number)).remote()
        for number in range(NODES)
    ]
    found: list[tuple[str, int, str]] = ray.get([worker.where.remote() for worker in workers], timeout=WITHIN_S)
    print("workers on", len({node for node, *_ in found}), "nodes", flush=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
