"""Make the vectors of docs/format/ledger.md: ``python tests/vectors/ledger/make.py``.

It writes tiles, bundles and signed notes with hashlib and PyNaCl alone, so that it shares nothing with the code that
the vectors test. Same input, same bytes: running it again changes no file.
"""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nacl.signing

HERE = Path(__file__).parent
KEY = nacl.signing.SigningKey(bytes(range(32)))
OTHER_KEY = nacl.signing.SigningKey(bytes(range(1, 33)))
ORIGIN = "plant/low"
WIDTH = 256


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tree_root(entries: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(entries) == 0:
        return digest(b"")
    if len(entries) == 1:
        return digest(b"\0" + entries[0])
    half = 1
    while half * 2 < len(entries):
        half *= 2
    return digest(b"\1" + tree_root(entries[:half]) + tree_root(entries[half:]))


def key_id(key: nacl.signing.SigningKey) -> bytes:
    return digest(ORIGIN.encode() + b"\n\x01" + bytes(key.verify_key))[:4]


def checkpoint(entries: list[bytes], key: nacl.signing.SigningKey = KEY) -> bytes:
    text = f"{ORIGIN}\n{len(entries)}\n{base64.b64encode(tree_root(entries)).decode()}\n"
    signature = base64.b64encode(key_id(key) + key.sign(text.encode()).signature).decode()
    return f"{text}\n— {ORIGIN} {signature}\n".encode()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_log(folder: Path, entries: list[bytes]) -> None:
    """Every tile and bundle that a log of these entries has (fewer than 65,536 of them), and its checkpoint."""
    level, span = 0, 1
    while len(entries) >= span:
        whole = len(entries) // span
        for first in range(0, whole, WIDTH):
            width = min(WIDTH, whole - first)
            hashes = [tree_root(entries[i * span : (i + 1) * span]) for i in range(first, first + width)]
            suffix = "" if width == WIDTH else f".p/{width}"
            write(folder / f"tile/{level}/{first // WIDTH:03d}{suffix}", b"".join(hashes))
            if level == 0:
                bundle = b"".join(len(e).to_bytes(2, "big") + e for e in entries[first : first + width])
                write(folder / f"tile/entries/{first // WIDTH:03d}{suffix}", bundle)
        level, span = level + 1, span * WIDTH
    write(folder / "checkpoint", checkpoint(entries))


def some(count: int) -> list[bytes]:
    return [f"entry {i}".encode() for i in range(count)]


def make(
    name: str, entries: list[bytes], findings: list[str] | None = None, change: Callable[[Path], None] | None = None
) -> None:
    """One vector: a log, changed afterwards or not, and what verifying it says (None: it holds)."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    write_log(folder, entries)
    if change is not None:
        change(folder)
    material = base64.b64encode(b"\x01" + bytes(KEY.verify_key)).decode()
    vkey = f"{ORIGIN}+{key_id(KEY).hex()}+{material}\n"
    write(folder / "vkey", vkey.encode())
    expected = {"size": len(entries), "root": tree_root(entries).hex(), "findings": findings}
    write(folder / "expected.json", (json.dumps(expected, indent=2) + "\n").encode())


def flip(path: str, offset: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = bytearray((folder / path).read_bytes())
        data[offset] ^= 1
        (folder / path).write_bytes(data)

    return change


def rewrite_entry_and_tile(folder: Path) -> None:
    """What somebody without the key does who knows about tiles: entry 7 and its leaf hash."""
    entries = some(300)
    entries[7] = b"another"
    sub = folder / "new"
    write_log(sub, entries)
    for path in ("tile/entries/000", "tile/0/000"):
        (sub / path).rename(folder / path)
    shutil.rmtree(sub)


def replace_by_full(folder: Path) -> None:
    """The files of a log that went on to 256 entries, and the checkpoint that it had at 3."""
    shutil.rmtree(folder)
    write_log(folder, some(256))
    write(folder / "checkpoint", checkpoint(some(3)))


def cut_off(folder: Path) -> None:
    path = folder / "tile/entries/000.p/3"
    path.write_bytes(path.read_bytes()[:-1])


def main() -> None:
    make("v01_two_entries", [b"a", b"bc"])
    make("v02_tile_border_256", some(256))
    make("v03_300_entries", some(300))
    make("v04_largest_entry", [bytes(65535)])
    make(
        "v06_partial_missing_where_full_is_there",
        some(3),
        change=replace_by_full,
    )
    make("v07_old_partial", some(5), change=lambda folder: write(folder / "tile/0/000.p/1", digest(b"\0entry 0")))
    make(
        "v07_old_partial_differs",
        some(5),
        ["tile/0/000.p/1: differs"],
        lambda folder: write(folder / "tile/0/000.p/1", bytes(32)),
    )
    make(
        "v12_signed_by_another_key",
        some(2),
        ["is not signed by plant/low"],
        lambda folder: write(folder / "checkpoint", checkpoint(some(2), OTHER_KEY)),
    )
    make("v12_signature_does_not_hold", some(2), ["signature does not match"], flip("checkpoint", 10))
    make("v21_leftovers", some(2), change=lambda folder: write(folder / "tile/0/000.p/3", bytes(96)))
    # the last byte of entry 1: two bytes of length and 7 of entry 0 stand before its own nine
    make("v24_entry_changed", some(300), ["entry 1: was changed"], flip("tile/entries/000", 17))
    make("v24_tile_changed", some(300), ["tile/0/000: hash 2 "], flip("tile/0/000", 64))
    make("v24_higher_tile_changed", some(300), ["tile/1/000.p/1: hash 0 "], flip("tile/1/000.p/1", 0))
    make(
        "v24_entry_and_tile_changed",
        some(300),
        ["tile/1/000.p/1: hash 0 ", "root hash at size 300"],
        rewrite_entry_and_tile,
    )
    make(
        "v24_bundle_missing",
        some(3),
        ["entries 0 to 2: tile/entries/000.p/3: is missing"],
        lambda folder: (folder / "tile/entries/000.p/3").unlink(),
    )
    make(
        "v24_bundle_cut_off",
        some(3),
        ["ends within its entry 2"],
        cut_off,
    )
    make(
        "v25_rolled_back",
        some(2),
        ["rolled back: the log has 2 entries"],
        lambda folder: write(folder / "against", checkpoint(some(3))),
    )
    make(
        "v25_rewritten",
        some(3),
        ["rewritten: at size 2 "],
        lambda folder: write(folder / "against", checkpoint([b"entry 0", b"something else"])),
    )
    make("v25_goes_on", some(300), change=lambda folder: write(folder / "against", checkpoint(some(77))))


if __name__ == "__main__":
    main()
