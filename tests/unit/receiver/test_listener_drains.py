"""Entries of several threads come into the ledger by one of them."""

import threading
from types import SimpleNamespace
from typing import cast

import pytest

from tidegate.errors import HostError
from tidegate.workspace import Workspace
from tidegate_receiver.listener.taking import Drains


class SlowRecorder:
    """Counts drains; the first one waits until it is let go."""

    def __init__(self) -> None:
        self.drains = 0
        self.is_at_it, self.may_go_on = threading.Event(), threading.Event()

    def drain(self) -> None:
        self.drains += 1
        self.is_at_it.set()
        assert self.may_go_on.wait(10)


def made(recorder: object) -> Workspace:
    return cast(Workspace, SimpleNamespace(recorder=recorder))


def test_what_is_asked_for_meanwhile_is_done_by_the_thread_that_is_at_it_once() -> None:
    drains, recorder = Drains(), SlowRecorder()
    thread = threading.Thread(target=drains.request, args=(made(recorder),))
    thread.start()
    assert recorder.is_at_it.wait(10)
    for _ in range(5):
        drains.request(made(recorder))  # returns at once
    assert recorder.drains == 1
    recorder.may_go_on.set()
    thread.join(10)
    assert recorder.drains == 2


def test_after_a_failure_the_next_one_drains() -> None:
    class Broken:
        drains = 0

        def drain(self) -> None:
            self.drains += 1
            if self.drains == 1:
                raise HostError("the disk is gone")

    drains, broken = Drains(), Broken()
    with pytest.raises(HostError):
        drains.request(made(broken))
    drains.request(made(broken))
    assert broken.drains == 2
