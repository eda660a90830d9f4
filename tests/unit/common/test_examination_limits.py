"""Looking at a medium of strangers: no channel of their own buys them the memory of this host."""

from pathlib import Path

import pytest
from receiver_world import LowSide

from tidegate.errors import LimitError
from tidegate.examination import examine
from tidegate.examination.examine import Examiner


def test_a_stranger_cannot_have_a_large_head_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    low = LowSide()
    low.write(low.bundle([b"content" * 1000]), tmp_path)
    examiner = Examiner(None, deep=False)
    assert examiner.examine_medium(tmp_path).refusals == ()

    def read_part(*_: object) -> bytes:
        raise AssertionError("was read")

    monkeypatch.setattr(examine, "HEAD_UNPINNED_MAX_BYTES", 100)
    monkeypatch.setattr(examine, "read_part", read_part)
    (refusal,) = examiner.examine_medium(tmp_path).refusals
    assert refusal.exit_code == LimitError.exit_code
