"""Reads a bundle file or media with nothing of Tidegate, and verifies it down to each blob's SHA-256.

python tests/second_reader/read.py BUNDLE.tgb|MEDIUM_FOLDER... [--pin CHANNEL_ID_HEX] [--site NAME]
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from second_reader import announcement as announcements
from second_reader import bundle, ledger, media, roots, trust
from second_reader.ground import RefusedError, need


@dataclass
class Read:
    """What one bundle turned out to be."""

    chain: trust.Chain
    head: bundle.Head
    signers: list[str]
    checkpoint: ledger.Checkpoint | None
    blobs: dict[str, bytes] = field(default_factory=dict)
    lost: int = 0


def read_chain(preamble: bytes, pin: str | None) -> trust.Chain:
    """A chain that is whole; one without its beginning needs a stored chain, which this reader does not keep."""
    chain = trust.read_whole(preamble)
    need(chain.newest.type == "channel", "T-45", "no channel root")
    need(len(preamble) <= 65536, "T-39", "the carried chain is too long")
    need(pin is None or chain.id == pin, "T-40", f"the channel is {chain.id}")
    return chain


def check(chain: trust.Chain, parts: list[bytes], manifest_length: int) -> Read:
    """From the bytes of the three parts to blobs."""
    cover, head_bytes, part2 = parts
    root = chain.newest
    pieces = bundle.read_cover(cover)
    signers = trust.verify_manifest(root, pieces[1], head_bytes[:manifest_length])
    head = bundle.read_head(head_bytes, manifest_length, len(part2))
    manifest = head.manifest
    need((manifest["channel"], manifest["epoch"]) == (chain.id, root.epoch), "T-43", "another channel or epoch")
    need(manifest["channel_name"] == root.name, "B-5", "channel_name is not as in the root")
    roots.check_limits(root.roles["release"].limits, manifest)
    checkpoint = None
    if 2 in pieces:
        origin = f"{root.name}/low"
        keys = [ledger.make_key(origin, root.ed25519(name) or b"") for name in root.roles["ledger"].keys]
        checkpoint = _first_checkpoint(pieces[2], keys, origin)
    return Read(chain, head, signers, checkpoint, dict(bundle.read_blobs(head, part2)))


def _first_checkpoint(note: bytes, keys: list[ledger.Key], origin: str) -> ledger.Checkpoint | None:
    """No matter for taking the bundle (bundle.md, Cover): None where it does not hold."""
    for key in keys:
        try:
            return ledger.read_checkpoint(note, key, origin)
        except RefusedError:
            continue
    return None


def read_file(path: Path, pin: str | None = None) -> Read:
    found = bundle.read_file(path.read_bytes())
    chain = read_chain(found.preamble, pin)
    read = check(chain, [found.cover, found.head, found.chunks], found.manifest_length)
    need(read.head.id == found.bundle_id, "B-25", "bundle_id")
    return read


def announced_by(volume: media.Volume, pin: str | None) -> tuple[trust.Chain, announcements.Announcement]:
    """Who speaks, and what is announced."""
    chain, failure = None, RefusedError("M-12", "no copy of the preamble is whole")
    for preamble in volume.preambles():
        try:
            chain = read_chain(preamble, pin)
            break
        except RefusedError as error:
            failure = error
    if chain is None:
        raise failure
    trust.verify_announcement(chain.newest, *announcements.read_frame(volume.announcement))
    announced = announcements.parse_announcement(volume.announcement)
    body = announced.body
    need(body["carrier"] == "media", "M-13", "a medium with the announcement of a stream")
    need((body["channel"], body["epoch"]) == (chain.id, chain.newest.epoch), "T-43", "another channel or epoch")
    return chain, announced


def read_set(volumes: list[media.Volume], pin: str | None = None) -> Read:
    """One bundle out of volumes that belong together."""
    known = [announced_by(volume, pin) for volume in volumes]
    chain, first = known[0]
    parts = media.read_parts([(volume, announced) for volume, (_, announced) in zip(volumes, known, strict=True)])
    read = check(chain, parts, first.body["manifest_length"])
    said = (first.body["bundle_id"], first.body["sequence"])
    need((read.head.id.hex(), read.head.manifest["sequence"]) == said, "M-13", "the announcement says otherwise")
    read.lost = sum(volume.lost for volume in volumes)
    return read


def read_media(folders: Iterable[Path], pin: str | None = None) -> Iterator[Read]:
    """Volumes with one `set` belong together, on however many media they lie (media.md, Sets)."""
    sets: dict[tuple[str, str], list[media.Volume]] = {}
    for volume in (volume for folder in folders for volume in media.find_volumes(folder)):
        _, announced = announced_by(volume, pin)
        sets.setdefault((announced.body["bundle_id"], announced.body["set"]), []).append(volume)
    for volumes in sets.values():
        yield read_set(volumes, pin)


def read_medium(folder: Path, pin: str | None = None) -> Iterator[Read]:
    return read_media([folder], pin)


def show(read: Read) -> None:
    manifest = read.head.manifest
    print(f"bundle {read.head.id.hex()}")
    print(f"channel {read.chain.id} {manifest['channel_name']}, root version {read.chain.newest.version}")
    print(f"sequence {manifest['sequence']}, created {manifest['created']}, for {', '.join(manifest['audience'])}")
    print(f"signed by {', '.join(read.chain.newest.holder(name) for name in read.signers)}")
    for artifact in manifest["artifacts"]:
        print(f"artifact {artifact['name']} {artifact['kind']} {artifact['digest']} {artifact['size']}")
    print(f"{len(read.blobs)} blobs, {sum(map(len, read.blobs.values()))} bytes, each with its SHA-256")
    print(f"{len(read.head.required)} blobs required, {read.lost} records lost and mended")
    if read.checkpoint is not None:
        print(f"ledger {read.checkpoint.origin} had {read.checkpoint.size} entries")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, nargs="+", help="a bundle file, or the media of one or more bundles")
    parser.add_argument("--site", help="who is reading; without it the audience is not looked at")
    parser.add_argument("--pin", help="id of the channel that is expected; without it any channel is taken")
    arguments = parser.parse_args()
    try:
        if arguments.source[0].is_dir():
            found = list(read_media(arguments.source, arguments.pin))
        else:
            found = [read_file(path, arguments.pin) for path in arguments.source]
        for read in found if arguments.site else ():
            bundle.check_audience(read.head.manifest, arguments.site)
    except RefusedError as error:
        print(f"refused, {error}", file=sys.stderr)
        return 1
    if not found:
        print("no volume", file=sys.stderr)
        return 1
    for read in found:
        show(read)
    return 0


if __name__ == "__main__":
    sys.exit(main())
