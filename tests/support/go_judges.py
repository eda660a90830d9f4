"""Judges in Go: small programs over the libraries that others rely on, built once for the tests that ask them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

GO = shutil.which("go")
_UNREACHABLE = ("dial tcp", "no such host", "proxy", "toolchain")


def build_judge(source: Path, folder: Path, *, go: str, fetches: str) -> Path:
    """The program that the Go code in `source` is. Skips without Go `go`, or where `fetches` cannot be had."""
    if GO is None:
        pytest.skip(f"needs Go {go} or newer on the path to build the judge")
    program = folder / "judge"
    # the real home: Go keeps its module and build caches there
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    command = [GO, "build", "-o", str(program), "."]
    built = subprocess.run(
        command, cwd=source, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if built.returncode and any(word in built.stderr for word in _UNREACHABLE):
        pytest.skip(f"needs the Go module proxy once, to fetch {fetches}: {built.stderr.strip()[-200:]}")
    assert built.returncode == 0, built.stderr
    return program
