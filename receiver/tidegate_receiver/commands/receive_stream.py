"""``tidegate receive udp://…``: listen for what a data diode brings, in the foreground or as a service."""

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

from tidegate.carrier.stream.address import parse_address
from tidegate.commands.options import Invocation
from tidegate.config import Role
from tidegate.report import print_error
from tidegate.text import printable
from tidegate.units import format_bytes

if TYPE_CHECKING:
    from tidegate.workspace import Workspace
    from tidegate_receiver.intake.outcomes import ReceiveOutcome


def receive_stream(invocation: Invocation, text: str, *, interface: str, stop_after: int) -> int:
    """Listen at the address `text`; the exit code of the worst bundle where `stop_after` ends it, else 0."""
    from tidegate_receiver.listener.opening import open_stream_socket

    report = invocation.report
    workspace = invocation.workspace(Role.HIGH)
    opened = open_stream_socket(parse_address(text), interface)
    with opened.socket:
        for what, remedy in opened.warnings:
            report.warn(what, remedy)
        granted = format_bytes(opened.buffer_bytes)
        if invocation.dry_run:
            report.closing(f"would listen at {opened.address}; the kernel holds {granted} for it")
            return 0
        from tidegate_receiver.listener.worker import ListenOptions, Worker

        teller = _Teller(invocation)
        with workspace.recording():
            worker = Worker(workspace, opened, ListenOptions(stop_after), after=teller.tell_bundle, tell=teller.warn)

            def stop(_number: int, _frame: FrameType | None) -> None:
                worker.stop()

            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, stop)
            report.closing(f"listening at {opened.address}; the kernel holds {granted} for it", listening=text)
            worker.run()
        report.closing(f"stopped listening at {opened.address}", stopped=text)
    return teller.worst if stop_after else 0


class _Teller:
    """Says what became of each bundle; called by several threads."""

    def __init__(self, invocation: Invocation) -> None:
        self.report = invocation.report
        self.worst = 0
        self._turn = threading.Lock()

    def tell_bundle(self, workspace: "Workspace", outcome: "ReceiveOutcome") -> None:
        """Load where the channel says so, and tell."""
        from tidegate_receiver.commands.receive_report import load_automatically, show_medium
        from tidegate_receiver.intake.outcomes import MediumReport

        found = MediumReport((outcome,))
        loaded, failures = load_automatically(workspace, found)
        with self._turn:
            code = show_medium(self.report, found, loaded, of_stream=True)
            for error in failures:
                print_error(error, json_lines=self.report.json_lines)
            self.worst = max([self.worst, code, *(error.exit_code for error in failures)])

    def warn(self, text: str) -> None:
        with self._turn:
            self.report.warn(printable(text, 1000))
