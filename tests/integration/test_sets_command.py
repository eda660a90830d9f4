"""A bundle over several sticks by the installed command: folders as sticks, and two ext4 sticks in one port."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from two_sides import Sides

MIB = 1 << 20


def folders(sides: Sides, *names: str) -> list[Path]:
    made = [sides.folder / name for name in names]
    for folder in made:
        folder.mkdir()
    return made


def test_a_set_is_written_over_two_days_and_read_in_the_other_order(sides: Sides) -> None:
    bundle = sides.pack(size=45_000_000)
    planned = sides.low.good("send", bundle, "--stick-size", "90M", "--dry-run", "--json").objects[-1]
    assert [item["number"] for item in planned["volumes"]] == [1, 2]  # type: ignore[attr-defined]
    one, two = folders(sides, "one", "two")
    first = sides.low.good("send", bundle, one, "--stick-size", "90M")
    assert f"stick 1 of about 2 of {bundle} written" in first.out
    assert first.out.rstrip().endswith("next: insert another and run the same again")
    assert "nothing to do" in sides.low.good("send", bundle, one, "--stick-size", "90M").out
    second = sides.low.good("send", bundle, two, "--stick-size", "90M")
    assert f"stick 2 of 2 of {bundle} written" in second.out
    assert "the set is complete" in second.out
    assert sides.low.states() == ["sent"]

    looked = sides.high.good("verify", two, "--json").objects[0]
    assert (looked["state"], looked["volume"]) == ("whole", 2)
    early = sides.high.fails(21, "receive", two)
    assert "stick 1 of the set is missing; this one may be removed" in early.out
    assert "stick 1 of the set is missing" in sides.high.good("inbox").out
    sides.high.good("receive", one)
    sides.assert_loads(bundle)
    assert sides.high.spooled() == []


def test_a_set_with_a_spare_arrives_without_one_of_its_sticks(sides: Sides) -> None:
    bundle = sides.pack(size=900_000)
    sticks = folders(sides, "s1", "s2", "s3", "s4", "s5")
    written = sides.low.good("send", bundle, *sticks, "--spare", "1", "--json")
    assert [item["volume"] for item in written.objects] == [1, 2, 3, 4, 5]
    assert written.objects[-1]["complete"] is True
    for stick in (sticks[4], sticks[1], sticks[0]):
        answer = sides.high.run("receive", stick, "--json")
        (said,) = answer.objects
        assert (answer.code, said["may_be_removed"], said["damaged_places"]) == (21, True, 0)
        assert 3 in said["missing_volumes"]  # type: ignore[operator]
    sides.high.good("receive", sticks[3])
    sides.assert_loads(bundle)


def test_all_sticks_but_the_spare_may_be_in_at_once(sides: Sides) -> None:
    bundle = sides.pack(size=900_000)
    sticks = folders(sides, "s1", "s2", "s3", "s4", "s5")
    sides.low.good("send", bundle, *sticks, "--spare", "1")
    assert "stick 3 of 5; all that is said of it holds for this stick alone" in sides.high.good("verify", sticks[2]).out
    sides.high.good("receive", *sticks[1:])
    sides.assert_loads(bundle)


def test_an_expensive_set_is_taken_only_when_it_is_accepted(sides: Sides) -> None:
    bundle = sides.pack(size=900_000)
    sticks = folders(sides, "s1", "s2", "s3")
    refused = sides.low.fails(2, "send", bundle, *sticks, "--spare", "1")
    assert "--accept-overhead takes it" in refused.err
    assert all(not list(stick.iterdir()) for stick in sticks)
    sides.low.good("send", bundle, *sticks, "--spare", "1", "--accept-overhead")


# --- real file systems ------------------------------------------------------------------------


def run(*command: str | Path) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout.strip()


def make_stick(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=0", "-m", "0", path)
    return path


def unmount(point: Path) -> None:
    for _ in range(100):
        if subprocess.run(["umount", point], check=False, capture_output=True, timeout=60).returncode == 0:
            return
        time.sleep(0.1)
    run("umount", "--lazy", point)


@pytest.mark.system
def test_two_small_sticks_go_through_one_port_while_send_waits(sides: Sides) -> None:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("loop devices need root")
    bundle = sides.pack(size=45_000_000)
    images = [make_stick(sides.folder / f"{number}.img", size * MIB) for number, size in ((1, 110), (2, 180))]
    (port,) = folders(sides, "port")
    run("mount", "-o", "loop,nosuid,nodev,noexec", images[0], port)
    try:
        process = sides.low.start("send", bundle, port, "--wait", PYTHONUNBUFFERED="1")
        assert process.stdout is not None
        said = ""
        while "waiting for the next stick" not in said:
            line = process.stdout.readline()
            assert line, (said, process.stderr.read() if process.stderr else "")
            said += line
        unmount(port)
        run("mount", "-o", "loop,nosuid,nodev,noexec", images[1], port)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, (said + out, err)
        assert f"stick 2 of 2 of {bundle} written" in out
    finally:
        unmount(port)
    for image, code in ((images[1], 21), (images[0], 0)):
        run("mount", "-o", "loop,ro,nosuid,nodev,noexec", image, port)
        try:
            answer = sides.high.run("receive", port)
            assert answer.code == code, answer
        finally:
            unmount(port)
    sides.assert_loads(bundle)
