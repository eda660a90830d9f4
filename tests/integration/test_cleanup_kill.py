"""SIGKILL while `cleanup --remove` is at work: the next one ends it, and state, ledger and content agree."""

import signal
from pathlib import Path

import pytest
from faults import needs_strace, strace
from two_sides import Sides

NOW = ("cleanup", "--remove", "--keep-days", "0")
#: call numbers at which a run is killed; the low side makes more of them
POINTS = [
    *(("low", "unlink", number) for number in (1, 2, 3, 5, 7)),
    *(("low", "rename", number) for number in (1, 3, 5)),
    *(("low", "fsync", number) for number in (2, 5, 9)),
    *(("low", "fdatasync", number) for number in (1, 3, 6)),
    *(("high", "unlink", number) for number in (1, 2, 3, 5)),
    *(("high", "rename", number) for number in (1, 3)),
    *(("high", "fsync", number) for number in (2, 5)),
    *(("high", "fdatasync", number) for number in (1, 3, 6)),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Two bundles are loaded, the first is superseded and let go, a slip without it was printed and read."""
    needs_strace()
    sides = Sides.make(tmp_path_factory.mktemp("prepared"))
    site = sides.high.good("keys", "export", "--json").objects[-1]
    sides.low.good("trust", "add", str(site["line"]), "--fingerprint", str(site["fingerprint"]))
    for seed in (1, 2):
        bundle = sides.pack(seed=seed)
        sides.send(bundle)
        sides.high.good("receive", sides.stick)
        sides.high.good("load", bundle)
    sides.high.good(*NOW)
    slip = sides.high.good("slip", "--json").objects[-1]
    sides.low.good("slip", "read", str(slip["slip"]))
    return sides


@pytest.mark.system
@pytest.mark.parametrize(("side", "call", "when"), POINTS)
def test_killed_at_a_call_and_run_again(prepared: Sides, tmp_path: Path, side: str, call: str, when: int) -> None:
    sides = prepared.copy(tmp_path / "world")
    mine = sides.low if side == "low" else sides.high
    killed = strace(f"trace={call}", f"inject={call}:signal=SIGKILL:when={when}")
    assert mine.run(*NOW, prefix=killed).code == -signal.SIGKILL
    mine.good(*NOW)
    assert "nothing to do" in mine.good(*NOW).out
    mine.good("ledger", "verify")
    if side == "high":
        assert mine.states() == ["cleaned", "loaded"]
        mine.check()
        sides.high.good("load", "2", "--to", sides.folder / "out")
    else:
        assert mine.spooled() == []
        assert all(row.path is None for row in mine.rows())
        packed = mine.good("pack", sides.folder / "docs", "--anyway", "--json").objects[-1]
        assert packed["required"] != 0  # the second bundle is confirmed, and its papers say what it carried
