"""A set of five sticks with one spare, on tmpfs: received with one stick missing, beside all five.

Claim (docs/benchmarks.md): at least 60 % of the speed with all five. All sticks that are there are in at once, as in a
hub; and one after another, as in one port, where what a stick holds is kept in the spool until the last.

`python bench/sets.py [--mib 512] [--rounds 3]`
"""

import argparse
import shutil
from pathlib import Path

from measure import SEED, Run, in_turn, machine, make_corpus, make_pair, ratio, scratch, table, tidegate

ASKED = 0.6
STICKS = 5


def bench_missing(folder: Path, template: Path, sticks: list[Path], rounds: int, size: int) -> str:
    high = folder / "sets-high"

    def fresh() -> None:
        shutil.rmtree(high, ignore_errors=True)
        shutil.copytree(template, high)

    def at_once(chosen: list[Path]) -> Run:
        fresh()
        return tidegate(high, "receive", *map(str, chosen))

    def one_by_one(chosen: list[Path]) -> Run:
        fresh()
        runs = [tidegate(high, "receive", str(stick), check=False) for stick in chosen]
        return Run(sum(one.seconds for one in runs), max(one.peak_mib for one in runs), runs[-1].output)

    rows = []
    for how, action in (("at once", at_once), ("one after another", one_by_one)):
        names = (f"all five, {how}", f"one missing, {how}")
        series = in_turn(rounds, {names[0]: lambda a=action: a(sticks), names[1]: lambda a=action: a(sticks[1:])})
        for name, row in series.items():
            share = ratio(row, series[names[0]])
            asked = f"{ASKED}: {'met' if share >= ASKED else 'missed'}" if name == names[1] else ""
            speed = f"{size / row.seconds / 1e6:.0f} MB/s"
            rows.append((name, f"{row.seconds:.2f} s", speed, f"{row.peak_mib:.0f} MiB", f"{share:.2f}", asked))
    heads = ("what", "median", "of the content", "peak memory", "times the speed with all five", "asked")
    return table(f"A set of five with one spare, {size / 2**20:.0f} MiB", heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = scratch()
    try:
        print(f"{machine()}; seed {SEED}\n", flush=True)
        size = make_corpus(folder / "corpus", options.mib)
        low, template = make_pair(folder)
        packed = tidegate(low, "pack", f"{folder / 'corpus'}/").result()["bundle"]
        shutil.rmtree(folder / "corpus")
        sticks = [folder / f"stick-{number}" for number in range(1, STICKS + 1)]
        for stick in sticks:
            stick.mkdir()
        tidegate(low, "send", packed, *map(str, sticks), "--spare", "1", "--no-read-back")
        bench_missing(folder, template, sticks, options.rounds, size)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
