"""What an idle link costs: share of a core and memory of both sides, with heartbeats, after a bundle has crossed.

    python bench/stream_idle.py [--seconds 30] [--heartbeat 10s] [--mib 256]

Memory is that of all processes of a side: the sum of their proportional shares (PSS) when idle, and the sum of each
one's highest resident memory while the bundle crossed. Needs root for the namespaces (tests/support/wire.py).
"""

import argparse
import os
import shutil
import subprocess
import time
from pathlib import Path

from contenders import PORT, Finished, environment
from many_bundles import make_waiting
from measure import MIB, SEED, TIDEGATE, end_tidily, machine, make_pair, scratch, table
from wire import why_not, wire

HEADS = ("side", "processes", "share of a core, idle", "asked", "PSS idle MiB", "peak MiB, crossing", "asked")
SETTLE_SECONDS = 3.0
LIMIT_SECONDS = 120.0


def family(pid: int) -> list[int]:
    """A process and those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(item for child in children for item in family(int(child)))]


def cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, file: str, name: str) -> float:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--heartbeat", default="10s")
    parser.add_argument("--mib", type=int, default=256)
    given = parser.parse_args()
    if reason := why_not():
        raise SystemExit(reason)
    end_tidily()
    folder = scratch()
    try:
        low, high = make_pair(folder)
        (folder / "outbox").mkdir()
        with wire(1500) as link:
            url = link.address(PORT)
            (bundle,) = make_waiting(low, url, 1, given.mib * MIB, seed=SEED)
            run = ["outbox", "run", str(folder / "outbox"), "--to", url, "--rate", "1gbit", "--canary", "0s"]
            receiver = Finished(link.high(TIDEGATE, "receive", url, "--quiet"), env=environment(high, synced=False))
            time.sleep(SETTLE_SECONDS)
            sender = Finished(link.low(TIDEGATE, *run, "--heartbeat", given.heartbeat, "--quiet"),
                              env=environment(low, synced=False), stderr=subprocess.DEVNULL)  # fmt: skip
            try:
                until = time.monotonic() + LIMIT_SECONDS
                while not (high / "quarantine" / bundle).is_dir() and time.monotonic() < until:
                    time.sleep(0.2)
                time.sleep(SETTLE_SECONDS)
                sides = {"sender": family(sender.process.pid), "receiver": family(receiver.process.pid)}
                before, started = {name: cpu_seconds(pids) for name, pids in sides.items()}, time.monotonic()
                time.sleep(given.seconds)
                passed = time.monotonic() - started
                rows = []
                for name, pids in sides.items():
                    share = (cpu_seconds(pids) - before[name]) / passed
                    pss = sum(memory_mib(pid, "smaps_rollup", "Pss") for pid in pids)
                    peak = sum(memory_mib(pid, "status", "VmHWM") for pid in pids)
                    row = (name, str(len(pids)), f"{share:.2%}", "1 %", f"{pss:.0f}", f"{peak:.0f}", "256")
                    rows.append(row)
            finally:
                sender.stop()
                receiver.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{machine()}; a heartbeat each {given.heartbeat}, over {passed:.0f} s; a bundle of {given.mib} MiB before\n")
    table("An idle link", HEADS, rows)


if __name__ == "__main__":
    main()
