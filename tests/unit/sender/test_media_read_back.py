"""Read-back: a byte that is not what was written is found wherever it lies, and named."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_volumes import PREAMBLE, SIGNER, flip, make_bundle, small_plan

from tidegate.carrier.announcement import build_announcement
from tidegate.carrier.frames import tag_of
from tidegate.errors import MediaWriteError, MediumLostError
from tidegate_sender.media import read_back as media_read_back
from tidegate_sender.media import writing as media_module
from tidegate_sender.media.read_back import ReadBack, read_back_volume
from tidegate_sender.media.volume_writer import VolumeWriter
from tidegate_sender.media.writing import write_volume

BUNDLE = make_bundle(500_000)


@pytest.fixture
def writer(tmp_path: Path) -> VolumeWriter:
    plan = small_plan(BUNDLE, file_bytes=262144)
    data = build_announcement(plan, SIGNER)
    made = VolumeWriter(tmp_path, plan, data, tag_of(data), PREAMBLE, sync=False)
    made.write(BUNDLE, lambda _done: None)
    return made


def read_back(writer: VolumeWriter) -> ReadBack:
    return read_back_volume(writer.layout, writer.files, lambda _done: None)


def test_what_was_written_is_read_back(writer: VolumeWriter) -> None:
    done: list[int] = []
    way = read_back_volume(writer.layout, writer.files, done.append)
    assert way in (ReadBack.DIRECT, ReadBack.CACHE_DROPPED)
    assert done == sorted(done)
    assert done[-1] == writer.layout.total_bytes


def places() -> list[int]:
    """Labels, preambles and their fill, index blocks, entries, records, closing index block, last byte."""
    return [0, 100, 4063, 4096, 4096 + 800, 8191, 8192, 8192 + 40, 8192 + 3000, 12288, 12288 + 4095, 100_000, -1, -4096]


@pytest.mark.parametrize("place", [*places(), -8192, -12288, -12289])
@pytest.mark.parametrize("number", [0, 2])
def test_one_flipped_bit_is_found_and_named(writer: VolumeWriter, place: int, number: int) -> None:
    file = writer.files[number]
    offset = place % file.place.size
    flip(file.path, offset, 0x10)
    with pytest.raises(MediaWriteError, match="differs from what was written") as caught:
        read_back(writer)
    assert str(file.path) in caught.value.message
    named = int(caught.value.message.split("at byte ")[1].split(" ")[0])
    assert named <= offset


@pytest.mark.parametrize("change", [-4096, -1, 1, 4096])
def test_a_file_of_another_length_is_found(writer: VolumeWriter, change: int) -> None:
    file = writer.files[1]
    os.truncate(file.path, file.place.size + change)
    with pytest.raises(MediaWriteError):
        read_back(writer)


def test_a_medium_that_kept_an_older_copy_is_found(writer: VolumeWriter, tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    plan = small_plan(BUNDLE, file_bytes=262144)
    data = build_announcement(plan, SIGNER)
    VolumeWriter(older, plan, data, tag_of(data), PREAMBLE, sync=False).write(BUNDLE, lambda _done: None)
    file = writer.files[1]
    (older / file.path.name).replace(file.path)
    with pytest.raises(MediaWriteError):
        read_back(writer)


def test_a_medium_of_faked_capacity_is_found(writer: VolumeWriter) -> None:
    # Such a medium answers with what was written last at the address, taken modulo its true size.
    file = writer.files[0]
    data = file.path.read_bytes()
    file.path.write_bytes(data[: len(data) // 2 // 4096 * 4096] * 2 + data[len(data) // 2 // 4096 * 4096 * 2 :])
    with pytest.raises(MediaWriteError):
        read_back(writer)


def test_where_direct_reads_are_refused_the_cache_is_dropped(
    writer: VolumeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = media_read_back.open_regular
    dropped: list[int] = []

    @contextmanager
    def refuse(path: Path, flags: int = 0) -> Iterator[int]:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no O_DIRECT here")
        with real(path, flags) as fd:
            yield fd

    monkeypatch.setattr(media_read_back, "open_regular", refuse)
    monkeypatch.setattr(media_read_back.os, "posix_fadvise", lambda fd, *_: dropped.append(fd))
    assert read_back(writer) is ReadBack.CACHE_DROPPED
    assert len(dropped) == len(writer.files)


def break_reads(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(_fd: int, _views: Sequence[memoryview], _offset: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(media_read_back.os, "preadv", fail)


def write(tmp_path: Path) -> Any:
    medium = tmp_path / "medium"
    medium.mkdir()
    return write_volume(BUNDLE, medium, signer=SIGNER, preamble=PREAMBLE)


def test_a_place_that_cannot_be_read_back_is_a_bad_medium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv
    reads: list[int] = []

    def preadv(fd: int, views: Sequence[memoryview], offset: int) -> int:
        reads.append(offset)
        if offset:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, views, offset)

    monkeypatch.setattr(media_read_back.os, "preadv", preadv)
    with pytest.raises(MediaWriteError, match="cannot be read back"):
        write(tmp_path)
    assert not (tmp_path / "medium" / "TIDEGATE").exists()


def test_a_medium_pulled_out_during_read_back_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_reads(monkeypatch, errno.ENODEV)
    monkeypatch.setattr(media_module, "_opening_is_readable", lambda _file: False)
    with pytest.raises(MediumLostError):
        write(tmp_path)


def test_a_difference_removes_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage(real: Callable[..., ReadBack]) -> Callable[..., ReadBack]:
        def read(layout: Any, files: Any, progress: Any) -> ReadBack:
            flip(files[0].path, 50_000)
            return real(layout, files, progress)

        return read

    monkeypatch.setattr(media_module, "read_back_volume", damage(media_module.read_back_volume))
    with pytest.raises(MediaWriteError, match="differs") as caught:
        write(tmp_path)
    assert "use another medium" in caught.value.hint
    assert list((tmp_path / "medium").iterdir()) == []
