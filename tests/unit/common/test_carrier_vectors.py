"""Every vector of tests/vectors/media gets the answer that expected.json gives it."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tidegate import errors
from tidegate.carrier.announcement import parse_announcement, read_announcement_frame
from tidegate.carrier.blocks import build_index, build_label, parse_index, parse_label
from tidegate.carrier.frames import Frame
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.parts import JoinedSource, read_part
from tidegate.carrier.reader import VolumeReader
from tidegate.carrier.volume import VolumeLayout
from tidegate.trust.envelope import ANNOUNCEMENT_TYPE, pae
from tidegate.trust.keys import key_id, verify

VECTORS = Path(__file__).parents[2] / "vectors" / "media"
EXPECTED: dict[str, dict[str, Any]] = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))
#: what the parts of ok_volume hold, as make.py has it
PARTS = (b"signatures and what rides along\n" * 3, b'{"the manifest":"and its tables"}' * 6, bytes(range(250)) * 22)


def read_vector(facts: dict[str, Any], folder: Path) -> None:
    data = (VECTORS / facts["file"]).read_bytes()
    if facts["kind"] == "announcement":
        frame = read_announcement_frame(data)
        check_signature(frame, facts["key"])
        parse_announcement(frame)
    elif facts["kind"] == "layout":
        VolumeLayout(parse_announcement(read_announcement_frame(data)), facts["preamble_length"])
    elif facts["kind"] == "label":
        assert build_label(parse_label(data)) == data
    elif facts["kind"] == "index":
        assert build_index(parse_index(data)) == data
    elif facts["kind"] == "share":
        read_without(facts, folder)
    else:
        read_volume(facts, data, folder)


def read_without(facts: dict[str, Any], folder: Path) -> None:
    """The set of three without the share of the vector."""
    readers = []
    for other in (other for other in EXPECTED.values() if other["kind"] == "share" and other != facts):
        (folder / other["file"]).mkdir()
        shutil.copy(VECTORS / other["file"], folder / other["file"] / "V001F001.TGV")
        (volume,) = find_volumes(folder / other["file"]).volumes
        readers.append(VolumeReader(volume, parse_announcement(volume.frame)))
    source = JoinedSource(tuple(readers))
    assert [read_part(source, part, 1 << 20) for part in (0, 1)] == list(PARTS[:2])
    assert sha256(read_part(source, 2, 1 << 20)).hexdigest() == facts["chunks_sha256"]


def check_signature(frame: Frame, key: str) -> None:
    public = bytes.fromhex(key)
    assert frame.key_id == key_id(public)
    verify(public, pae(ANNOUNCEMENT_TYPE, frame.payload), frame.signature)


def read_volume(facts: dict[str, Any], data: bytes, folder: Path) -> None:
    damaged = bytearray(data)
    for offset, length in facts["damage"]:
        damaged[offset : offset + length] = b"\xff" * length
    (folder / "V001F001.TGV").write_bytes(damaged)
    (volume,) = find_volumes(folder).volumes
    reader = VolumeReader(volume, parse_announcement(volume.frame))
    for part, content in enumerate(PARTS):
        try:
            assert read_part(reader, part, 1 << 20) == content
        except errors.VolumeMissingError:
            assert facts["part"] == part
            raise


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_reader_gives_the_answer_of_the_vector(name: str, tmp_path: Path) -> None:
    facts = EXPECTED[name]
    if facts["answer"] == "ok":
        read_vector(facts, tmp_path)
        return
    with pytest.raises(getattr(errors, facts["answer"])) as caught:
        read_vector(facts, tmp_path)
    assert type(caught.value).__name__ == facts["answer"]
    if facts["rule"] != "M-3":
        assert f"({facts['rule']})" in caught.value.message


def test_every_file_of_the_vectors_is_listed() -> None:
    files = {path.name for path in VECTORS.iterdir()} - {"expected.json", "make.py", "__pycache__"}
    assert files == {facts["file"] for facts in EXPECTED.values()}


def test_every_rule_of_the_format_that_can_break_has_a_vector() -> None:
    rules = {facts["rule"] for facts in EXPECTED.values() if facts["rule"]}
    assert rules == {f"M-{number}" for number in range(2, 16)}


def test_the_writer_lays_out_the_volume_of_the_vector(tmp_path: Path) -> None:
    shutil.copy(VECTORS / "ok_volume.volume", tmp_path / "V001F001.TGV")
    (volume,) = find_volumes(tmp_path).volumes
    assert volume.frame.tag.hex() == EXPECTED["ok_volume"]["tag"]
    write_again = rewrite(volume.frame, volume.preamble or b"", tmp_path)
    assert write_again.read_bytes() == (VECTORS / "ok_volume.volume").read_bytes()


def rewrite(frame: Frame, preamble: bytes, folder: Path) -> Path:
    from made_volumes import MemoryBundle

    from tidegate_sender.media.volume_writer import VolumeWriter

    (folder / "again").mkdir()
    announcement = parse_announcement(frame)
    writer = VolumeWriter(folder / "again", announcement, frame.data, frame.tag, preamble, sync=False)
    writer.write(MemoryBundle(PARTS), lambda _done: None)
    return writer.files[0].path
