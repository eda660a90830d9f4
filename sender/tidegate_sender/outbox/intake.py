"""What becomes of a file in the outbox: a bundle is queued, a list is packed by ``tidegate pack`` in a process beside.

Packing takes memory and both cores, and may wait long for registries: in a process of its own it does not hold up the
link, and a fault in it stops nothing. One list is packed at a time, the most urgent one first.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tidegate.errors import TidegateError
from tidegate.lookup import resolve_bundle
from tidegate.state.sendings import Priority
from tidegate_sender.outbox.folder import OutboxFolder, PutDown
from tidegate_sender.outbox.queue import enqueue

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

OUTPUT_MAX = 1 << 20
_ERROR = "tidegate: error: "
_COMMAND = "from tidegate.cli import main; main()"


class Intake:
    """Takes files in; `look` as often as wanted, it never waits."""

    def __init__(
        self,
        workspace: "Workspace",
        folder: OutboxFolder,
        link: str,
        tell: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._workspace = workspace
        self._folder = folder
        self._link = link
        self._tell, self._warn = tell, warn
        self._packing: tuple[PutDown, subprocess.Popen[str]] | None = None

    @property
    def is_busy(self) -> bool:
        return self._packing is not None

    def look(self) -> bool:
        """Take what can be taken now; whether something was queued."""
        queued = self._reap()
        for item in self._folder.settled():
            if item.is_bundle:
                queued |= self._queue_bundle(item)
            elif not _is_list(item):
                self._reject(item, 'is no list: a transfer list begins with "tidegate: 1"')
            elif self._packing is None:
                self._packing = (item, self.start_pack(str(item.path)))
                break
        return queued

    def close(self) -> None:
        """End a pack that is under way; its list stays where it is."""
        if self._packing is not None:
            self._packing[1].terminate()
            self._packing[1].communicate()
            self._packing = None

    def start_pack(self, what: str) -> "subprocess.Popen[str]":
        arguments = [sys.executable, "-c", _COMMAND, "--root", str(self._workspace.root), "pack", what, "--json"]
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def _reap(self) -> bool:
        if self._packing is None or self._packing[1].poll() is None:
            return False
        item, process = self._packing
        self._packing = None
        out, err = process.communicate()
        name = packed_name(out)
        if name is None:
            self._reject(item, (err or out)[-OUTPUT_MAX:].strip() or f"pack ended with {process.returncode}")
            return False
        if err.strip():
            self._warn(f"{item.path.name}: {err.strip().splitlines()[0]}")
        return self._take(item, name)

    def _queue_bundle(self, item: PutDown) -> bool:
        return self._take(item, str(item.path))

    def _take(self, item: PutDown, bundle: str) -> bool:
        try:
            found = resolve_bundle(self._workspace, bundle)
            if found.row is None:
                self._reject(item, "this root did not pack that bundle: send it with the root that packed it")
                return False
            enqueue(self._workspace, found.row, self._link, item.priority)
        except TidegateError as error:
            self._reject(item, error.message)
            return False
        self._folder.take(item)
        self._tell(f"{item.path.name}: {found.row.name} waits, {item.priority.name.lower()}")
        return True

    def _reject(self, item: PutDown, text: str) -> None:
        self._folder.reject(item, text)
        self._warn(f"{item.path.name}: cannot be sent: {_reason(text)}")


def _is_list(item: PutDown) -> bool:
    """Whether it would be packed as a list. A broken one would be packed as a file, which nobody means here."""
    from tidegate_sender.collect.lists.arguments import ArgumentKind, classify_argument

    return classify_argument(str(item.path)).kind in {ArgumentKind.TRANSFER_LIST, ArgumentKind.LIST}


def _reason(text: str) -> str:
    """The error among what a command said, in one line."""
    lines = text.splitlines()
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    return (errors or lines or ["no reason was given"])[0]


def packed_name(out: str) -> str | None:
    """The bundle that ``pack --json`` speaks of, packed now or before; None where it made none."""
    for line in reversed(out.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("bundle"), str):
            return str(found["bundle"])
    return None


def queue_packed(workspace: "Workspace", name: str, link: str, priority: Priority) -> bool:
    """Queue a bundle by its name."""
    found = resolve_bundle(workspace, name)
    return found.row is not None and enqueue(workspace, found.row, link, priority)
