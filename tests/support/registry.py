"""Debian's `docker-registry` on a free port of this machine, with a temporary storage folder."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = "docker-registry"
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def registry_program() -> str:
    """The path of the registry; skips the test where it is not installed."""
    path = shutil.which(PROGRAM)
    if path is None:
        pytest.skip(f"needs {PROGRAM}: apt-get install docker-registry")
    return path


@contextlib.contextmanager
def running_registry(folder: Path, *, port: int = 0) -> Iterator[str]:
    """Start a registry that stores under `folder`; gives its host, ``127.0.0.1:PORT``. It is stopped at the end."""
    program = registry_program()
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(5):
        number = port or free_port()
        config = folder / "config.yml"
        config.write_text(_CONFIG.format(folder=folder / "storage", port=number))
        environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
        process = subprocess.Popen(
            [program, "serve", str(config)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            if _answers(process, number):
                yield f"127.0.0.1:{number}"
                return
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    pytest.fail("docker-registry did not start on any of five ports")


def free_port() -> int:
    """A port that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the registry listens; False when the process ended (the port was taken meanwhile)."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False
