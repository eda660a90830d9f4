"""A bundle over one stick, on tmpfs, beside tar, zstd and par2: speed, damage, memory, bytes on the medium.

Claims (docs/benchmarks.md): pack and send against `tar | zstd -3 -T2` and against the same followed by
par2cmdline-turbo; receive against `zstd -d | tar x`; 2 % of the records destroyed, and a hole of 8 MB in every
150 MB; memory for 1 GiB and for larger bundles; 100,000 small files.

`python bench/media.py [--mib 1024] [--rounds 3] [--large 8192] [--files 100000]`
"""

import argparse
import os
import random
import shutil
import sys
from pathlib import Path

from measure import (
    MIB,
    SEED,
    TIDEGATE,
    Run,
    in_turn,
    machine,
    make_corpus,
    make_pair,
    ratio,
    run,
    scratch,
    table,
    tidegate,
)

PAR2 = str(Path(sys.executable).parent / "par2")


def pack_and_send(low: Path, corpus: Path, medium: Path) -> Run:
    """`pack` without its collecting, and `send`: the seconds of both commands, start-up included."""
    shutil.rmtree(medium, ignore_errors=True)
    medium.mkdir()
    for old in (low / "spool").glob("*.tgb"):
        old.unlink()  # as the peers' output is removed: memory that was never touched costs more than memory used again
    packed = tidegate(low, "pack", f"{corpus}/", "--anyway")
    collected = packed.result()["collect_seconds"]
    sent = tidegate(low, "send", packed.result()["bundle"], str(medium), "--no-read-back")
    return Run(packed.seconds - collected + sent.seconds, max(packed.peak_mib, sent.peak_mib), packed.output)


def fresh_receive(template: Path, high: Path, medium: Path) -> Run:
    shutil.rmtree(high, ignore_errors=True)
    shutil.copytree(template, high)
    return tidegate(high, "receive", str(medium))


def bench_send(folder: Path, low: Path, corpus: Path, rounds: int, size: int) -> str:
    archive, medium = folder / "corpus.tar.zst", folder / "medium"

    def tar_zstd() -> Run:
        archive.unlink(missing_ok=True)
        return run(f"set -o pipefail; tar -C {corpus} -cf - . | zstd -q -3 -T2 -o {archive}")

    def tar_zstd_par2() -> Run:
        for path in folder.glob("corpus.tar.zst*"):
            path.unlink()
        compressed = tar_zstd()
        protected = run([PAR2, "create", "-q", "-q", "-r10", str(archive) + ".par2", str(archive)])
        return Run(compressed.seconds + protected.seconds, protected.peak_mib, "")

    ours, tar, par2 = "tidegate pack + send", "tar \\| zstd -3 -T2", "… then par2 create -r10 (turbo)"
    actions = {ours: lambda: pack_and_send(low, corpus, medium), tar: tar_zstd, par2: tar_zstd_par2}
    series = in_turn(rounds, actions)
    rows = []
    targets = {tar: "0.8, goal 1", par2: "1.5"}
    for name, row in series.items():
        ratio_text = f"{ratio(series[ours], row):.2f}" if name != ours else "1"
        speed = f"{size / row.seconds / 1e6:.0f} MB/s"
        rows.append((name, f"{row.seconds:.2f} s", speed, f"{row.peak_mib:.0f} MiB", ratio_text, targets.get(name, "")))
    collect = series[ours].runs[-1].result()["collect_seconds"]
    rows.append(("collecting the folder alone", f"{collect:.2f} s", f"{size / collect / 1e6:.0f} MB/s", "", "", ""))
    heads = ("what", "median", "speed", "peak memory", "tidegate is … times as fast", "asked")
    return table(f"Folder to closed files on the medium, {size / 2**30:.1f} GiB, half incompressible", heads, rows)


def damage_records(medium: Path, share: float) -> int:
    """Overwrite `share` of the 64 KiB records at random."""
    generator = random.Random(SEED)
    damaged = 0
    for path in sorted(medium.rglob("*.TGV")):
        size = path.stat().st_size
        with path.open("r+b") as file:
            for _ in range(int(size / 65536 * share)):
                file.seek(generator.randrange(0, max(1, size - 65536) // 4096) * 4096)
                file.write(generator.randbytes(4096))
                damaged += 1
    return damaged


def damage_holes(medium: Path, hole: int, every: int) -> int:
    """A run of zeros of `hole` bytes in every `every` bytes."""
    holes = 0
    for path in sorted(medium.rglob("*.TGV")):
        with path.open("r+b") as file:
            for start in range(every // 2, path.stat().st_size - hole, every):
                file.seek(start)
                file.write(bytes(hole))
                holes += 1
    return holes


def bench_receive(folder: Path, template: Path, rounds: int, size: int) -> str:
    medium, high, out = folder / "medium", folder / "receiver", folder / "out"
    scattered, holed = folder / "medium-scattered", folder / "medium-holed"
    shutil.copytree(medium, scattered)
    shutil.copytree(medium, holed)
    places = {"scattered": damage_records(scattered, 0.02), "holes": damage_holes(holed, 8 * 10**6, 150 * 10**6)}

    def unpack() -> Run:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return run(f"set -o pipefail; zstd -q -d -c {folder}/corpus.tar.zst | tar -C {out} -xf -")

    ours, peer = "tidegate receive, undamaged", "zstd -d \\| tar x"
    hurt = f"… 2 % of the records destroyed ({places['scattered']} places)"
    hole = f"… a hole of 8 MB in every 150 MB ({places['holes']} holes)"
    actions = {
        ours: lambda: fresh_receive(template, high, medium),
        peer: unpack,
        hurt: lambda: fresh_receive(template, high, scattered),
        hole: lambda: fresh_receive(template, high, holed),
    }
    series = in_turn(rounds, actions)
    rows = []
    for name, row in series.items():
        against = {
            ours: "",
            peer: f"receive is {ratio(series[ours], row):.2f} times as fast (asked: 0.7)",
        }.get(name, f"{100 / ratio(series[ours], row):.0f} % of the undamaged speed (asked: 70 %)")
        state = "" if name == peer else row.runs[-1].result().get("state", "")
        rows.append(
            (
                name,
                f"{row.seconds:.2f} s",
                f"{size / row.seconds / 1e6:.0f} MB/s",
                f"{row.peak_mib:.0f} MiB",
                state,
                against,
            )
        )
    shutil.rmtree(scattered)
    shutil.rmtree(holed)
    shutil.rmtree(out)
    heads = ("what", "median", "speed", "peak memory", "bundle is", "ratio")
    return table(f"Medium to verified quarantine, {size / 2**30:.1f} GiB", heads, rows)


def bench_memory(mib: int) -> str:
    """On a disk: a bundle that is larger than a tmpfs should be."""
    folder = Path(os.environ.get("BENCH_DISK", "/var/tmp")) / f"tidegate-bench-large-{os.getpid()}"
    folder.mkdir()
    try:
        return measure_large(folder, mib)
    finally:
        shutil.rmtree(folder)


def measure_large(folder: Path, mib: int) -> str:
    corpus = folder / "large"
    size = make_corpus(corpus, mib)
    low, high = make_pair(folder / "large-pair")
    medium = folder / "large-medium"
    medium.mkdir()
    packed = tidegate(low, "pack", f"{corpus}/")
    shutil.rmtree(corpus)
    sent = tidegate(low, "send", packed.result()["bundle"], str(medium), "--no-read-back")
    shutil.rmtree(low)
    received = tidegate(high, "receive", str(medium))
    rows = [
        (name, f"{row.seconds:.1f} s", f"{row.peak_mib:.0f} MiB")
        for name, row in (("collect and pack", packed), ("send", sent), ("receive", received))
    ]
    for path in (folder / "large-pair", medium):
        shutil.rmtree(path)
    return table(
        f"{size / 2**30:.1f} GiB, the same commands (asked: at most 300 MiB a side)",
        ("what", "time", "peak memory"),
        rows,
    )


def count_syncs(root: Path, *arguments: str) -> int:
    """fsync, fdatasync and syncfs of a command and its children, as strace counts them."""
    strace = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync,syncfs,sync", "-o", "/dev/stdout"]
    result = run([*strace, TIDEGATE, *arguments], env={"TIDEGATE_ROOT": str(root)})
    return sum(
        int(row.split()[3]) for row in result.output.splitlines() if row.endswith("sync") or row.endswith("syncfs")
    )


def bench_small_files(folder: Path, count: int) -> str:
    corpus, medium, archive = folder / "small", folder / "small-medium", folder / "small.tar.zst"
    generator = random.Random(SEED)
    for number in range(count):
        path = corpus / f"{number // 1000:03d}" / f"{number % 1000:03d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((generator.randbytes(512).hex() * 4)[:4096].encode())
    low, high = make_pair(folder / "small-pair")
    peer = run(f"set -o pipefail; tar -C {corpus} -cf - . | zstd -q -3 -T2 -o {archive}")
    packed = tidegate(low, "pack", f"{corpus}/", no_sync=False)
    medium.mkdir()
    sent = tidegate(low, "send", packed.result()["bundle"], str(medium), no_sync=False)
    received = tidegate(high, "receive", str(medium), no_sync=False)
    syncs = count_syncs(low, "pack", f"{corpus}/", "--anyway", "--quiet")
    rows = [
        ("tar \\| zstd -3 -T2", f"{peer.seconds:.2f} s", "", ""),
        (
            "tidegate pack, collecting included",
            f"{packed.seconds:.2f} s",
            f"{packed.peak_mib:.0f} MiB",
            str(packed.result().get("syncs", "")),
        ),
        ("… the same again, everything in the depot (syncs counted by strace)", "", "", str(syncs)),
        ("tidegate send", f"{sent.seconds:.2f} s", f"{sent.peak_mib:.0f} MiB", str(sent.result().get("syncs", ""))),
        (
            "tidegate receive",
            f"{received.seconds:.2f} s",
            f"{received.peak_mib:.0f} MiB",
            str(received.result().get("syncs", "")),
        ),
    ]
    for path in (corpus, medium, folder / "small-pair"):
        shutil.rmtree(path)
    archive.unlink()
    return table(f"{count} files of 4 KiB, with sync and read-back", ("what", "time", "peak memory", "syncs"), rows)


def bench_sizes(folder: Path) -> str:
    low, _ = make_pair(folder / "sizes")
    rows = []
    for size, name in ((1000, "1 KB"), (100_000, "100 KB"), (64 * MIB, "64 MiB")):
        source, medium = folder / f"payload-{size}", folder / f"medium-{size}"
        source.write_bytes(random.Random(size).randbytes(size))
        medium.mkdir()
        packed = tidegate(low, "pack", str(source))
        tidegate(low, "send", packed.result()["bundle"], str(medium), "--no-read-back")
        taken = sum(path.stat().st_size for path in medium.rglob("*") if path.is_file())
        rows.append((name, f"{taken:,}", f"{taken / size:.2f}"))
        shutil.rmtree(medium)
        source.unlink()
    return table("Bytes on the medium, one incompressible file", ("content", "bytes", "times the content"), rows)


def bench_disk(low: Path) -> str:
    """With sync and read-back on the disk under /var/tmp, beside dd with the same flags."""
    disk = Path(os.environ.get("BENCH_DISK", "/var/tmp")) / f"tidegate-bench-{os.getpid()}"
    disk.mkdir()
    try:
        (packed,) = (low / "spool").glob("*.tgb")  # of the last round
        sent = tidegate(low, "send", str(packed), str(disk), no_sync=False)
        taken = sum(path.stat().st_size for path in disk.rglob("*") if path.is_file())
        source = next(disk.rglob("*.TGV"))
        writing = run(f"dd if={source} of={disk}/dd bs=4M oflag=direct conv=fsync status=none")
        reading = run(f"dd if={disk}/dd of=/dev/null bs=4M iflag=direct status=none")
        rows = [
            ("tidegate send, fsync and read-back", f"{sent.seconds:.2f} s", f"{taken / sent.seconds / 1e6:.0f} MB/s"),
            (
                "dd, direct writing and reading",
                f"{writing.seconds + reading.seconds:.2f} s",
                f"{taken / (writing.seconds + reading.seconds) / 1e6:.0f} MB/s",
            ),
        ]
        return table("On a disk, with fsync and read-back", ("what", "time", "bytes on the medium"), rows)
    finally:
        shutil.rmtree(disk)


def main() -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=8192, help="MiB of the memory check; 0 leaves it out")
    parser.add_argument("--files", type=int, default=100_000, help="number of small files; 0 leaves them out")
    options = parser.parse_args()
    folder = scratch()
    try:
        print(f"{machine()}; seed {SEED}\n", flush=True)
        corpus = folder / "corpus"
        size = make_corpus(corpus, options.mib)
        low, template = make_pair(folder)
        parts = [bench_send(folder, low, corpus, options.rounds, size)]
        parts.append(bench_receive(folder, template, options.rounds, size))
        parts.append(bench_disk(low))
        shutil.rmtree(corpus)
        parts.append(bench_sizes(folder))
        if options.files:
            parts.append(bench_small_files(folder, options.files))
        if options.large:
            parts.append(bench_memory(options.large))
        return "\n".join(parts)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
