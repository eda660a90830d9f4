"""Run ``tidegate …`` in a process of its own that need not import anything: a fork of one that has imported it all.

A command spends a third of a second on imports, and the tests call it some thousand times. One process a test worker
imports every module, opens nothing, starts no thread, and forks for each call; what runs then is the entry point of the
installed command, with its own folder, environment, output and end. Calls that set what is read on loading
(`can_start_warm`) start a Python of their own, and with TESTS_START_COLD=1 all do.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
LEFT_BEHIND = 999  # the code of a command that ended before a process that it started
PACKAGES = ("tidegate", "tidegate_sender", "tidegate_receiver")
#: variables that Python, the libraries under it or our own modules read when they are loaded
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "PATH", "TZ", "OPENBLAS_", "TIDEGATE_NO_SYNC")


class Ended(NamedTuple):
    """How a call ended; `code` as `subprocess.Popen.returncode`."""

    code: int
    out: str
    err: str


def can_start_warm(environment: Mapping[str, str]) -> bool:
    """Whether `environment` has nothing of its own that only a fresh Python would take on."""
    if "TESTS_START_COLD" in os.environ:
        return False
    theirs = _forking().environment
    changed = {name for name in {*environment, *theirs} if environment.get(name) != theirs.get(name)}
    return not any(name.startswith(_READ_AT_START) for name in changed)


def run_warm(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path | None = None, timeout: float = 120
) -> Ended:
    """Run ``tidegate`` with `arguments` to its end, standard input empty. Raises subprocess.TimeoutExpired."""
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with theirs:
            _forking().ask([out.fileno(), err.fileno(), theirs.fileno()])
        request = {"arguments": list(arguments), "environment": dict(environment), "folder": str(folder or Path.cwd())}
        answers = ours.makefile("r", encoding="utf-8")
        ours.sendall(json.dumps(request).encode() + b"\n")
        ours.settimeout(timeout)
        first = answers.readline()
        assert first, "the process that forks has ended; what it said is above"
        pid = int(first)
        try:
            code = int(answers.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(["tidegate", *arguments], timeout) from None
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Ended(code, *texts)


class _Forking:
    """The process that forks, as its owner has it. It ends when its owner does."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self._control, theirs = socket.socketpair()
        with theirs:
            # A Python of its own that starts as an installed command's does, not a fork of the tests' process.
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        atexit.register(self._end)
        self.lock = threading.Lock()

    def ask(self, fds: list[int]) -> None:
        with self.lock:
            socket.send_fds(self._control, [b"1"], fds)

    def _end(self) -> None:
        self._control.shutdown(socket.SHUT_RDWR)  # whatever else was forked holds a copy
        self._control.close()
        self._process.wait()


_made: list[_Forking] = []
_making = threading.Lock()


def _forking() -> _Forking:
    with _making:
        if not _made:
            _made.append(_Forking())
        return _made[0]


# --- in the process that forks ----------------------------------------------------------------


def _import_all() -> None:
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)


def _serve(control: socket.socket) -> list[str]:
    """Fork for each request, until the owner is gone; in the fork: the words of its command line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a command is a process between
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        data, fds, _flags, _address = socket.recv_fds(control, 1, 3)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            return _start(*fds)
        for fd in fds:
            os.close(fd)


def _start(out: int, err: int, answer: int) -> list[str]:
    """Become the command of the request; its pid and its end are told by the process that this leaves behind."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with socket.socket(fileno=answer) as asked:
        with asked.makefile("r", encoding="utf-8") as lines:
            request = json.loads(lines.readline())
        if pid := os.fork():
            os.close(out)
            os.close(err)
            asked.sendall(f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            code = os.waitstatus_to_exitcode(status)
            asked.sendall(f"{LEFT_BEHIND if _has_children() else code}\n".encode())
            os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    return list(request["arguments"])


def _has_children() -> bool:
    """Whether the command left a process behind: it is this one's child then."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: no installed command sees it
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    _import_all()
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, "a thread would not be in the forks"
    sys.argv[1:] = _serve(socket.socket(fileno=int(sys.argv[1])))
    from tidegate.cli import main

    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    threading._shutdown()  # type: ignore[attr-defined]  # as Python does it at its end: ends pools, joins threads
    atexit._run_exitfuncs()
    gc.collect()  # closes what a command left open
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)  # to take a thousand modules down takes longer than most commands
