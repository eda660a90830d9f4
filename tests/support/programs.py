"""The real programs that Go builds for the tests: found on the path or where ``go install`` puts them."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest


@cache
def _go_folder() -> str:
    try:
        done = subprocess.run(["go", "env", "GOPATH"], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return ""
    return str(Path(done.stdout.strip()) / "bin") if done.stdout.strip() else ""


def program(name: str) -> str:
    """The path of crane, regctl, cosign, registry or helm; skips the test where it is not built."""
    found = shutil.which(name) or shutil.which(name, path=_go_folder())
    if found is None:
        pytest.skip(f"needs {name}: sh tests/system-packages.sh all builds it where Go is")
    return found


def run(name: str, *arguments: str | Path, cwd: Path | None = None, code: int = 0, **environment: str) -> str:
    """Run one of them; gives its standard output. It must end with `code`."""
    done = subprocess.run(
        [program(name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, f"{name} {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}"
    return done.stdout
