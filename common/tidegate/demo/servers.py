"""Processes that the demonstration starts and ends by their id: the low side's registry, the high side's `serve`."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from tidegate.errors import HostError

START_SECONDS = 15.0


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def registry_program() -> str | None:
    """Debian's docker-registry, where it is installed."""
    return shutil.which("docker-registry")


@contextlib.contextmanager
def registry(folder: Path, program: str) -> Iterator[str]:
    """A real registry with its storage in `folder`; yields ``localhost:PORT``."""
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n",
        encoding="utf-8",
    )
    with running([program, "serve", str(config)], f"http://127.0.0.1:{port}/v2/"):
        yield f"localhost:{port}"


@contextlib.contextmanager
def running(command: Sequence[str], url: str, env: dict[str, str] | None = None) -> Iterator[None]:
    """Start `command`, wait until `url` answers, end it afterwards."""
    process = subprocess.Popen(
        command, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(url, process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError):
            opener.open(url, timeout=2).close()
            return
        time.sleep(0.05)
    raise HostError(f"{process.args!r} did not answer at {url}")
