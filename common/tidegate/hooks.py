"""Whoever is told of what happened here: a program, a mail, an address. Both sides have such hooks.

A hook changes nothing of what it tells. What fails in it is an entry and a warning.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from tidegate.errors import HostError, TidegateError, reason_of
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.workspace import Workspace


def try_hook(
    workspace: Workspace, tell: Callable[[], None], *, subject: str, step: str, done: str | None = None, **facts: Any
) -> TidegateError | None:
    """Run `tell`; an entry with `facts` says what came of it, with `done` as its detail where all went well."""
    error: TidegateError | None = None
    try:
        tell()
    except TidegateError as failure:
        error = failure
    made = entry(
        Event.HOOK,
        subject=subject,
        step=step,
        outcome=Outcome.FAILED if error else Outcome.DONE,
        reason=reason_of(error) if error else None,
        detail=error.message if error else done,
        **facts,
    )
    with workspace.state.transaction() as tx:
        tx.queue(made)
    workspace.finish()
    return error


def run_program(command: Sequence[str], given: bytes, seconds: float, **environment: str) -> None:
    """Run a program, without a shell, with `given` on its standard input. Raises HostError.

    It has a group of its own, which is ended when its time is over, and none of our settings but `environment`. What it
    prints is not kept.
    """
    name = command[0]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("TIDEGATE_")}
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=quiet,
            stderr=quiet,
            env={**inherited, **environment},
            start_new_session=True,
        )
    except OSError as error:
        raise HostError(f"{name}: cannot be run: {error.strerror}") from None
    try:
        process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise HostError(f"{name}: not done within {seconds} s, and was ended") from None
    if process.returncode:
        raise HostError(f"{name}: ended with {process.returncode}")
