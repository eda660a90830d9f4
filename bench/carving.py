"""Carving a bundle out of an image without its file system, on tmpfs, beside `cat` of the same image.

Claims (docs/benchmarks.md): bundles are found at the medium's sequential speed or 500 MB/s, whichever is less. The walk
alone (`Carving`), over files that lie whole, over fragments of 1 MiB in any order, and over foreign data; then
`receive --damaged` beside `receive` of the files, and a search by digest over foreign data, which is the last resort.

`python bench/carving.py [--mib 512] [--rounds 3]`
"""

import argparse
import json
import random
import shutil
import sys
import time
from pathlib import Path

from measure import MIB, SEED, Run, in_turn, machine, make_corpus, make_pair, ratio, run, scratch, table, tidegate

ASKED_MB = 500
KIB = 1 << 10
FRAGMENT = MIB


def walk(image: Path) -> None:
    """What `--walk` does, in a process of its own: find every index block, and say how long it took."""
    from tidegate.carrier.carving import Carving
    from tidegate.carrier.raw_medium import RawMedium

    class Judge:
        def channel_of(self, _frame: object) -> str:
            return "any"

        def learn(self, _preamble: bytes) -> str:
            return "any"

    started = time.perf_counter()
    with RawMedium(image) as medium:
        carving = Carving(medium, Judge())
        carving.run()
    print(json.dumps({"seconds": time.perf_counter() - started, "blocks": carving.stats.index_blocks}))


def search(image: Path) -> None:
    """What `--search` does: look for a hundred thousand records of 64 KiB that are nowhere."""
    import numpy as np

    from tidegate.carrier.blocks import ENTRY
    from tidegate.carrier.carved_search import DigestSearch
    from tidegate.carrier.raw_medium import RawMedium

    class Volume:
        run_count = 1600

        def listed_entries(self, run: int) -> object:
            entries = np.zeros(64, ENTRY)
            entries["digest"] = np.random.default_rng(run).integers(0, 2**63, 64, np.uint64)
            return entries, 65536

        def add_strays(self, _records: object, _offsets: object) -> None:
            pass

    started, worked = time.perf_counter(), time.process_time()
    with RawMedium(image) as medium:
        looking = DigestSearch(medium, {0})
        looking.look_for(looking.register(Volume()), 0)  # type: ignore[arg-type]
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    print(json.dumps({"seconds": seconds, "worked": worked, "hashing": hashing_seconds()}))


def hashing_seconds() -> float:
    """What nobody can be faster than on one core: 1 MiB hashed at every 4 KiB, 64 KiB at a time, and nothing else."""
    import blake3

    data = memoryview(random.Random(SEED).randbytes(MIB + 60 * KIB))
    best = float("inf")
    for _ in range(20):
        started = time.process_time()
        for at in range(0, MIB, 4 * KIB):
            blake3.blake3(data[at : at + 64 * KIB]).digest(8)
        best = min(best, time.process_time() - started)
    return best


def timed(command: list[str]) -> Run:
    """A run whose seconds are those that the process says of its work, without Python's start."""
    done = run(command)
    return Run(done.result()["seconds"], done.peak_mib, done.output)


def make_images(folder: Path, files: list[Path]) -> dict[str, Path]:
    whole, shuffled, foreign = (folder / name for name in ("whole.img", "fragments.img", "foreign.img"))
    chance = random.Random(SEED)
    with whole.open("wb") as image:
        image.write(chance.randbytes(3 * MIB))
        for file in files:
            with file.open("rb") as source:
                shutil.copyfileobj(source, image, 4 * MIB)
    with whole.open("rb") as source, shuffled.open("wb") as image:
        places = list(range(0, whole.stat().st_size, FRAGMENT))
        chance.shuffle(places)
        for place in places:
            source.seek(place)
            image.write(source.read(FRAGMENT).ljust(FRAGMENT, b"\0"))
    with foreign.open("wb") as image:
        for _ in range(whole.stat().st_size // MIB):
            image.write(chance.randbytes(MIB))
    return {"files in one piece": whole, "fragments of 1 MiB": shuffled, "nothing of ours": foreign}


def bench_walk(images: dict[str, Path], rounds: int) -> str:
    rows = []
    for name, image in images.items():
        size = image.stat().st_size
        me = [sys.executable, __file__, "--walk", str(image)]
        cat = [sys.executable, __file__, "--cat", str(image)]
        series = in_turn(rounds, {"walk": lambda me=me: timed(me), "cat": lambda cat=cat: timed(cat)})
        speed = size / series["walk"].seconds / 1e6
        met = "met" if speed >= ASKED_MB or ratio(series["walk"], series["cat"]) >= 1 else "missed"
        rows.append(
            (
                name,
                f"{speed:.0f} MB/s",
                f"{size / series['cat'].seconds / 1e6:.0f} MB/s",
                f"{ratio(series['walk'], series['cat']):.2f}",
                f"{series['walk'].peak_mib:.0f} MiB",
                f"{ASKED_MB} MB/s or cat: {met}",
            )
        )
    heads = ("image", "found at", "cat", "times as fast as cat", "peak memory", "asked")
    return table(f"Finding what is ours, {images['files in one piece'].stat().st_size / 2**20:.0f} MiB", heads, rows)


def bench_receive(folder: Path, template: Path, medium: Path, images: dict[str, Path], rounds: int) -> str:
    high = folder / "carving-high"

    def receive(*arguments: str) -> Run:
        shutil.rmtree(high, ignore_errors=True)
        shutil.copytree(template, high)
        return tidegate(high, "receive", *arguments)

    actions = {"receive, the files": lambda: receive(str(medium))}
    for name in ("files in one piece", "fragments of 1 MiB"):
        actions[f"receive --damaged, {name}"] = lambda image=images[name]: receive("--damaged", str(image))
    series = in_turn(rounds, actions)
    first = series["receive, the files"]
    size = images["files in one piece"].stat().st_size
    rows = [
        (
            name,
            f"{row.seconds:.2f} s",
            f"{size / row.seconds / 1e6:.0f} MB/s",
            f"{ratio(row, first):.2f}",
            f"{row.peak_mib:.0f} MiB",
            str(row.runs[-1].result()["damaged_places"]),
        )
        for name, row in series.items()
    ]
    heads = ("what", "median", "of the medium", "times as fast as from files", "peak memory", "places repaired")
    return table("Receiving, verified and in quarantine", heads, rows)


def bench_search(images: dict[str, Path], rounds: int) -> str:
    image = images["nothing of ours"]
    row = in_turn(rounds, {"search": lambda: timed([sys.executable, __file__, "--search", str(image)])})["search"]
    size = image.stat().st_size
    told = [one.result() for one in row.runs]
    speeds = (row.seconds, min(one["seconds"] for one in told), min(one["worked"] for one in told))
    ceiling = MIB / min(one["hashing"] for one in told)
    rows = [
        (
            "records of 64 KiB at every 4 KiB, 16 hashes a byte",
            *(f"{size / seconds / 1e6:.0f} MB/s" for seconds in speeds),
            f"{ceiling / 1e6:.0f} MB/s",
            f"{row.peak_mib:.0f} MiB",
            f"{ASKED_MB} MB/s: {'met' if size / speeds[1] / 1e6 >= ASKED_MB else 'missed'}",
        )
    ]
    heads = ("what", "median", "best", "a second of one core", "the hash alone, one core", "peak memory", "asked")
    return table("The last resort: searching foreign data by digest", heads, rows)


def cat(image: Path) -> None:
    """What `--cat` does: `cat IMAGE > /dev/null`, timed without a shell's start."""
    import subprocess

    started = time.perf_counter()
    with image.open("rb") as source:
        subprocess.run(["cat"], stdin=source, stdout=subprocess.DEVNULL, check=True)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    for name in ("walk", "search", "cat"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for action, image in ((walk, options.walk), (search, options.search), (cat, options.cat)):
        if image is not None:
            action(image)
            return
    folder = scratch()
    try:
        print(f"{machine()}; seed {SEED}\n", flush=True)
        make_corpus(folder / "corpus", options.mib)
        low, template = make_pair(folder)
        packed = tidegate(low, "pack", f"{folder / 'corpus'}/").result()["bundle"]
        shutil.rmtree(folder / "corpus")
        medium = folder / "medium"
        medium.mkdir()
        tidegate(low, "send", packed, str(medium), "--no-read-back")
        images = make_images(folder, sorted(medium.rglob("*.TGV")))
        bench_walk(images, options.rounds)
        bench_receive(folder, template, medium, images, options.rounds)
        bench_search(images, options.rounds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
