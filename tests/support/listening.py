"""A listener on loopback for tests: the real socket, the real reader process, the worker in a thread."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from receiver_world import HighSide

from tidegate.carrier.stream.address import parse_address
from tidegate_receiver.intake.outcomes import ReceiveOutcome
from tidegate_receiver.listener.counting import LinkCounts
from tidegate_receiver.listener.opening import open_stream_socket
from tidegate_receiver.listener.worker import ListenOptions, Worker

TIME_LIMIT_SECONDS = 60


@dataclass
class Listening:
    """A running listener: what it told, and a way to send to it."""

    worker: Worker
    port: int
    outcomes: list[ReceiveOutcome] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def counts(self) -> LinkCounts:
        return self.worker.counts

    def send(self, datagrams: Iterable[bytes], *, at_once: int = 100) -> int:
        """Send from one socket, with a pause now and then; how many."""
        return send_to(self.port, datagrams, at_once=at_once)

    def wait_for(self, what: Callable[[], bool]) -> None:
        until = time.monotonic() + TIME_LIMIT_SECONDS
        while not what():
            assert time.monotonic() < until, f"did not come about: {self.counts} {self.outcomes} {self.told}"
            time.sleep(0.01)

    def wait_for_bundles(self, count: int) -> list[ReceiveOutcome]:
        """The outcomes, once there are so many and their sessions are settled."""
        self.wait_for(lambda: len(self.outcomes) >= count and not self.worker.sessions.by_tag)
        return self.outcomes


def send_to(port: int, datagrams: Iterable[bytes], *, at_once: int = 100) -> int:
    """Send to loopback from one socket, with a pause now and then; how many."""
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        for count, datagram in enumerate(datagrams, 1):
            sender.send(datagram)
            if count % at_once == 0:
                time.sleep(0.001)
    return count


def free_port() -> int:
    """A UDP port that nobody has just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def listening(high: HighSide, *, at: int = 0, **settings: object) -> Iterator[Listening]:
    """A listener over the high side's root, at the port `at` or any. Raises at the end what ended it."""
    port = at or free_port()
    opened = open_stream_socket(parse_address(f"udp://127.0.0.1:{port}"))
    made: list[Listening] = []
    worker = Worker(
        high.workspace(**settings),
        opened,
        ListenOptions(),
        after=lambda _workspace, outcome: made[0].outcomes.append(outcome),
        tell=lambda text: made[0].told.append(text),  # noqa: PLW0108  there is no made[0] yet
    )
    made.append(Listening(worker, port))
    failure: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        made[0].wait_for(lambda: worker.is_listening or bool(failure))
        yield made[0]
    finally:
        worker.stop()
        thread.join(TIME_LIMIT_SECONDS)
        opened.socket.close()
        worker.workspace.recorder.drain()
        worker.workspace.state.close()
    if failure:
        raise failure[0]
