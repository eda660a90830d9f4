"""The intake takes a bundle from anything that gives symbols, whatever carried them."""

from pathlib import Path

from made_bundles import content
from receiver_world import HighSide, LowSide

from tidegate.carrier.announcement import Announcement
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.reader import VolumeReader
from tidegate.erasure.buffer import GroupBuffer
from tidegate_receiver.intake.bundle_intake import ReceiveOptions, take_bundle
from tidegate_receiver.intake.copies import Copy
from tidegate_receiver.intake.outcomes import OutcomeKind
from tidegate_receiver.intake.verification import verify_frame
from tidegate_receiver.reassembly.copies import PlainSource

BLOBS = [content(1, 60_000), content(2, 90_000)]


class LossySource:
    """Symbols from somewhere, every tenth of which is lost: no file, no index block, no repair to be left out."""

    def __init__(self, reader: VolumeReader) -> None:
        self._reader = reader

    @property
    def announcement(self) -> Announcement:
        return self._reader.announcement

    def groups(self, part: int) -> tuple[int, ...]:
        return self._reader.groups(part)

    def read_group(self, part: int, group: int, buffer: GroupBuffer) -> None:
        self._reader.read_group(part, group, buffer)
        buffer.present[:, ::10] = False


def test_a_bundle_comes_from_any_source_of_symbols_without_a_medium(tmp_path: Path) -> None:
    low = LowSide()
    high = HighSide.make(tmp_path / "high", low)
    bundle = low.bundle(BLOBS)
    low.write(bundle, tmp_path / "stick")
    found = find_volumes(tmp_path / "stick").volumes[0]
    verified = verify_frame(found.frame, low.chain, (), 0)
    source = LossySource(VolumeReader(found, verified.announcement))
    workspace = high.workspace()
    with workspace.recording():
        outcome = take_bundle(workspace, [Copy(verified, PlainSource(source))], None, ReceiveOptions())
    assert outcome.kind is OutcomeKind.RECEIVED
    assert outcome.blocks_mended > 0
    assert high.holds(bundle, BLOBS)
    assert all("medium" not in item for item in high.entries() if item["event"] == "receive")
