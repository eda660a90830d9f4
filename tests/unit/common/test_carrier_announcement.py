"""The announcement: refused by name, by rule, before anything is spent on it."""

from dataclasses import replace
from typing import Any

import pytest
from made_volumes import SIGNER, make_bundle, small_plan

from tidegate import canonical
from tidegate.carrier.announcement import Announcement, build_announcement, parse_announcement, read_announcement_frame
from tidegate.carrier.frames import FRAME_MAX_BYTES, Frame
from tidegate.carrier.parts import plan_parts
from tidegate.errors import CarrierFormatError, FeatureUnknownError, SignatureError, TidegateError
from tidegate.trust.envelope import ANNOUNCEMENT_TYPE, pae
from tidegate.trust.keys import verify

PLAN = small_plan(make_bundle())


def frame_of(payload: bytes) -> Frame:
    return Frame("00" * 32, bytes(64), payload, payload, bytes(8))


def payload_with(**changes: Any) -> bytes:
    plain = canonical.to_builtins(PLAN)
    plain.update(changes)
    return canonical.dumps({name: value for name, value in plain.items() if value != "absent"})


def refusal(error: type[TidegateError], **changes: Any) -> str:
    with pytest.raises(error) as caught:
        parse_announcement(frame_of(payload_with(**changes)))
    return caught.value.message


def test_an_announcement_is_read_back_as_it_was_built() -> None:
    frame = read_announcement_frame(build_announcement(PLAN, SIGNER))
    assert parse_announcement(frame) == PLAN
    assert frame.key_id == SIGNER.key_id
    assert len(frame.tag) == 8


def test_the_signature_is_over_the_payload_with_its_type() -> None:
    frame = read_announcement_frame(build_announcement(PLAN, SIGNER))
    verify(SIGNER.public, pae(ANNOUNCEMENT_TYPE, frame.payload), frame.signature)
    with pytest.raises(SignatureError):
        verify(SIGNER.public, pae(ANNOUNCEMENT_TYPE, frame.payload + b" "), frame.signature)


def test_the_largest_announcement_of_one_volume_fits_into_a_datagram() -> None:
    terabytes = (16 << 20, 16 << 20, 4 << 40)
    parts = plan_parts(terabytes)
    spans = tuple((part, 0, parts[part].group_count) for part in (0, 1, 2, 1, 0))
    huge = replace(PLAN, parts=parts, spans=spans, epoch=2**53 - 1, sequence=2**53 - 1, volume=999, volumes=999)
    assert len(build_announcement(huge, SIGNER)) < FRAME_MAX_BYTES - 200


def test_the_name_is_of_channel_and_sequence() -> None:
    assert PLAN.name == "7f3a-0192"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:104],
        lambda data: data[:-1],
        lambda data: data + b" ",
        lambda data: b"TGA2" + data[4:],
        lambda data: data[:4] + b"\xff\xff" + data[6:],
        lambda data: data[:6] + b"\1\0" + data[8:],
        lambda data: data + bytes(FRAME_MAX_BYTES),
    ],
)
def test_m02_a_frame_of_another_length_or_magic_is_refused(change: Any) -> None:
    with pytest.raises(CarrierFormatError, match=r"\(M-2\)"):
        read_announcement_frame(change(build_announcement(PLAN, SIGNER)))


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("length", 2**53 - 1),
        ("length", -1),
        ("source_count", 0),
        ("source_count", 255),
        ("repair_count", 255),
        ("repair_count", -1),
        ("symbol_size", 0),
        ("symbol_size", 2**21),
        ("interleave", 0),
        ("interleave", 256),
        ("length", "4096"),
        ("length", True),
    ],
)
def test_m13_lying_numbers_of_a_part_are_refused(part: int, field: str, value: object) -> None:
    parts = canonical.to_builtins(PLAN)["parts"]
    parts[part][field] = value
    assert "(M-13)" in refusal(CarrierFormatError, parts=parts)


def test_m13_a_group_that_no_memory_should_hold_is_refused() -> None:
    parts = canonical.to_builtins(PLAN)["parts"]
    parts[2] = {"length": 1 << 40, "source_count": 200, "repair_count": 55, "symbol_size": 1 << 20, "interleave": 255}
    assert "a group takes" in refusal(CarrierFormatError, parts=parts)


def test_m05_a_cover_above_the_bundles_limit_is_refused() -> None:
    parts = canonical.to_builtins(PLAN)["parts"]
    parts[0]["length"] = (16 << 20) + 1
    assert "(M-5)" in refusal(CarrierFormatError, parts=parts)


def test_m05_a_manifest_longer_than_the_head_is_refused() -> None:
    assert "(M-5)" in refusal(CarrierFormatError, manifest_length=3001)


def test_m06_symbols_that_are_no_pages_are_refused_on_media() -> None:
    parts = canonical.to_builtins(PLAN)["parts"]
    parts[2]["symbol_size"] = 4088
    assert "(M-6)" in refusal(CarrierFormatError, parts=parts)


def test_m06_a_volume_without_a_size_of_files_is_refused() -> None:
    assert "(M-6)" in refusal(CarrierFormatError, file_bytes="absent")


@pytest.mark.parametrize(
    "spans",
    [[[2, 0, 2**32]], [[2, 1, 1]], [[2, 1, 0]], [[0, 0, 2]]],
)
def test_m07_ranges_that_do_not_exist_are_refused(spans: list[list[int]]) -> None:
    assert "(M-7)" in refusal(CarrierFormatError, spans=spans)


@pytest.mark.parametrize("spans", [[], [[3, 0, 1]], [[0, 0, 1]] * 25, [[0, 0]], [[0, -1, 1]]])
def test_m13_malformed_ranges_are_refused(spans: list[list[int]]) -> None:
    assert "(M-13)" in refusal(CarrierFormatError, spans=spans)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channel", "7f3a"),
        ("bundle_id", "Z" * 64),
        ("carrier", "pigeon"),
        ("set", "0" * 15),
        ("sequence", 0),
        ("volume", 1000),
        ("file_bytes", 4096),
        ("file_bytes", 262145),
        ("manifest_length", 0),
        ("epoch", "absent"),
    ],
)
def test_m13_fields_outside_their_values_are_refused(field: str, value: object) -> None:
    assert "(M-13)" in refusal(CarrierFormatError, **{field: value})


def test_m14_an_unknown_critical_feature_is_refused_by_name() -> None:
    assert "'sealed'" in refusal(FeatureUnknownError, critical=["sealed"])


def test_m14_a_later_format_is_refused_by_number_though_its_fields_are_unknown() -> None:
    with pytest.raises(FeatureUnknownError, match="format 2"):
        parse_announcement(frame_of(canonical.dumps({"format": 2, "critical": [], "parts": "other"})))


def test_an_unknown_field_that_is_not_critical_is_ignored() -> None:
    assert parse_announcement(frame_of(payload_with(weather="fine"))) == PLAN


def test_a_second_form_of_the_same_json_is_refused() -> None:
    with pytest.raises(CarrierFormatError):
        parse_announcement(frame_of(payload_with() + b" "))


def test_nothing_unreadable_is_signed() -> None:
    with pytest.raises(CarrierFormatError):
        build_announcement(replace(PLAN, spans=((2, 0, 99),)), SIGNER)


def test_media_fields_are_not_asked_of_a_stream() -> None:
    streamed: Announcement = replace(PLAN, carrier="stream", file_bytes=None)
    assert parse_announcement(read_announcement_frame(build_announcement(streamed, SIGNER))) == streamed
