"""Real registries on free ports of this machine: Debian's `docker-registry`, and distribution v3 where it is built.

Each stores in a temporary folder; `Guard` is what it has before it: TLS, Basic authentication, tokens.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from programs import program as built

PROGRAM = "docker-registry"
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: {deletes}}}
{auth}
http:
  addr: "127.0.0.1:{port}"
  {tls}
"""
#: ada, and the bcrypt of PASSWORD
HTPASSWD = "ada:$2b$04$HyYnOCqzEGDgBR.27gcXAurVrMmbbgC0LIJ16G18zIpO.9ovXu2vW\n"
USER, PASSWORD = "ada", "geheim-4711"


@dataclass(frozen=True)
class Guard:
    """What stands before a registry. `tls` is certificate and key; `auth` the lines of its configuration."""

    tls: tuple[Path, Path] | None = None
    auth: str = ""

    @classmethod
    def basic(cls, folder: Path, tls: tuple[Path, Path] | None = None) -> "Guard":
        """USER and PASSWORD are let in."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "htpasswd"
        path.write_text(HTPASSWD)
        return cls(tls, f"auth: {{htpasswd: {{realm: test, path: {path}}}}}")


NOBODY = Guard()


def registry_program() -> str:
    """The path of the registry; skips the test where it is not installed."""
    path = shutil.which(PROGRAM)
    if path is None:
        pytest.skip(f"needs {PROGRAM}: apt-get install docker-registry")
    return path


@contextlib.contextmanager
def running_registry(
    folder: Path, *, port: int = 0, guard: Guard = NOBODY, v3: bool = False, deletes: bool = True
) -> Iterator[str]:
    """Start a registry that stores under `folder`; gives its host, ``127.0.0.1:PORT``. It is stopped at the end."""
    program = built("registry") if v3 else registry_program()
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(5):
        number = port or free_port()
        config = folder / "config.yml"
        tls = "tls: {{certificate: {}, key: {}}}".format(*guard.tls) if guard.tls else ""
        words = {"port": number, "tls": tls, "auth": guard.auth, "deletes": str(deletes).lower()}
        config.write_text(_CONFIG.format(folder=folder / "storage", **words))
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
