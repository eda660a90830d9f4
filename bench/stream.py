"""A bundle of 1 GiB of random bytes through a wire of real single packets, beside lidi, pydiode, udpcast and plain C.

    python bench/stream.py [--mib 1024] [--rounds 5] [--cases 1500/0,9000/0,1500/0.1,1500/1,1500/5] [--json FILE]

All contenders of a case run in turn. Both sides share this machine's cores; everything lies on tmpfs and nothing is
synced, but for the rows that say so. Needs root for the namespaces (tests/support/wire.py). The receive buffer that
peers may ask for, net.core.rmem_max, is raised for all of them during the run and put back afterwards, after SIGTERM
too: they have no other way to it. Before each run memory is touched (`measure.warm_memory`): without it ours made 185
to 480 MB/s from run to run on a machine whose host takes free memory back, with it 330 to 500.
"""

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from contenders import Case, Ceiling, Contender, Crossing, Lidi, Pydiode, Tidegate, Udpcast, pack_for, sha256
from measure import MIB, SEED, end_tidily, machine, make_pair, scratch, table, warm_memory
from wire import why_not, wire

RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
PEER_BUFFER_BYTES = 256 * MIB
CASES = "1500/0,9000/0,1500/0.1,1500/1,1500/5"
#: what lidi needs to deliver five of five, found by trying: percent of repair data by loss
LIDI_REPAIR = {0.0: None, 0.1: 5, 1.0: 5, 5.0: 15}
#: percent of loss that ours is asked to bear where the wire loses nothing: 3 % of repair data, as lidi's default is 2 %
LEAST_EXPECTED = 0.1
NOT_HERE = "uftp is not among them: its sender needs answers of the receiver, and here there are none."
HEADS = ("wire", "who", "whole", "MB/s", "ours / theirs", "CPU s sender + receiver", "peak MiB sender, receiver")


def contenders(case: Case, ceiling: Path, low: Path, high: Path, rates: dict[int, str]) -> list[Contender]:
    lossy = case.loss_percent > 0
    # The peers bear no gap of the link, so none is asked for here; stream_whole.py has rows with gaps.
    protection = ["--burst", "0ms", "--expected-loss", f"{max(case.loss_percent, LEAST_EXPECTED):g}%"]
    ours = Tidegate(low, high, lambda one: rates[one.mtu], protection=protection)
    if case.synced:
        return [ours]
    peers: list[Contender] = [ours, Lidi(repair=LIDI_REPAIR.get(case.loss_percent, 15))]
    if not lossy:
        peers += [
            Pydiode(bits_per_second=4_000_000_000, redundancy=1),
            Udpcast(bits_per_second=1_500_000_000),
            Ceiling(ceiling),
        ]
    return peers


def crossings(case: Case, who: list[Contender], rounds: int) -> dict[str, list[Crossing]]:
    """Each contender once a round, in turn."""
    found: dict[str, list[Crossing]] = {one.name: [] for one in who}
    with wire(case.mtu, loss_percent=case.loss_percent) as link:
        for _ in range(rounds):
            for one in who:
                if reason := one.why_not(case):
                    print(f"{one.name}: {reason}", file=sys.stderr)
                    continue
                warm_memory()
                crossing = one.cross(link, case)
                found[one.name].append(crossing)
                print(f"  {case.mtu}/{case.loss_percent:g} {one.name}: {speed(case, crossing):.0f} MB/s"
                      f" {'whole' if crossing.is_whole else 'NOT WHOLE'} {crossing.note}", file=sys.stderr)  # fmt: skip
    return found


def facts(case: Case, found: dict[str, list[Crossing]]) -> Iterator[dict[str, object]]:
    """The rows for a program: what bench/plot.py draws."""
    for name, tries in found.items():
        whole = [speed(case, one) for one in tries if one.is_whole]
        yield {
            "mtu": case.mtu, "loss_percent": case.loss_percent, "synced": case.synced, "who": name,
            "tries": len(tries), "whole": len(whole), "mb_per_second": statistics.median(whole) if whole else None,
        }  # fmt: skip


def speed(case: Case, crossing: Crossing) -> float:
    return case.size / crossing.seconds / 1e6 if crossing.is_whole else 0.0


def lines(case: Case, found: dict[str, list[Crossing]]) -> Iterator[tuple[str, ...]]:
    ours = found["tidegate"]
    link = f"MTU {case.mtu}, {case.loss_percent:g} % lost{', synced' if case.synced else ''}"
    for name, tries in found.items():
        if not tries:
            yield link, name, "not installed", "", "", "", ""
            continue
        whole = [one for one in tries if one.is_whole]
        median = statistics.median(speed(case, one) for one in whole) if whole else 0.0
        pairs = [speed(case, a) / speed(case, b) for a, b in zip(ours, tries, strict=True) if a.is_whole and b.is_whole]
        ratio = f"{statistics.median(pairs):.2f}" if pairs and name != "tidegate" else ""
        sender_cpu = statistics.median(one.sender_cpu for one in tries)
        receiver_cpu = statistics.median(one.receiver_cpu for one in tries)
        cpu = f"{sender_cpu:.1f} + {receiver_cpu:.1f}"
        peak = f"{max(t.sender_mib for t in tries):.0f}, {max(t.receiver_mib for t in tries):.0f}"
        yield link, name, f"{len(whole)} of {len(tries)}", f"{median:.0f}" if whole else "-", ratio, cpu, peak


@contextlib.contextmanager
def large_buffers() -> Iterator[None]:
    before = RMEM_MAX.read_text(encoding="ascii")
    RMEM_MAX.write_text(str(PEER_BUFFER_BYTES), encoding="ascii")
    try:
        yield
    finally:
        RMEM_MAX.write_text(before, encoding="ascii")


def random_file(path: Path, mib: int) -> None:
    """Random bytes from a process of its own, whose memory nobody inherits in the kernel's count."""
    code = f"import random; g = random.Random({SEED}); f = open({str(path)!r}, 'wb')"
    code += f"\nfor _ in range({mib}): f.write(g.randbytes({MIB}))"
    subprocess.run([sys.executable, "-c", code], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", default=CASES)
    parser.add_argument("--rate-1500", default="5gbit")
    parser.add_argument("--rate-9000", default="8gbit")
    parser.add_argument("--synced", action="store_true", help="one more row: both sides sync")
    parser.add_argument("--json", type=Path, help="write the figures to this file too, for bench/plot.py")
    given = parser.parse_args()
    if reason := why_not():
        raise SystemExit(reason)
    end_tidily()
    folder = scratch()
    try:
        (folder / "content").mkdir()
        file = folder / "content" / "random.bin"
        random_file(file, given.mib)
        low, high = make_pair(folder)
        pack_for(low, file)
        ceiling = folder / "ceiling"
        source = Path(__file__).parent / "stream_ceiling.c"
        subprocess.run(["cc", "-O2", "-o", str(ceiling), str(source)], check=True)
        cases = [
            Case(int(mtu), float(loss), file, sha256(file))
            for mtu, loss in (text.split("/") for text in given.cases.split(","))
        ]
        cases += [replace(cases[0], synced=True)] * given.synced
        rates = {1500: given.rate_1500, 9000: given.rate_9000}
        rows: list[tuple[str, ...]] = []
        figures: list[dict[str, object]] = []
        with large_buffers():
            for case in cases:
                found = crossings(case, contenders(case, ceiling, low, high, rates), given.rounds)
                rows += lines(case, found)
                figures += facts(case, found)
        if given.json is not None:
            text = json.dumps({"machine": machine(), "mib": given.mib, "figures": figures}, indent=1)
            given.json.write_text(text + "\n", encoding="utf-8")
        print(f"{machine()}; rates asked: {rates[1500]} at MTU 1500, {rates[9000]} at MTU 9000. {NOT_HERE}\n")
        table(f"{given.mib} MiB through a one-way wire", HEADS, rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
