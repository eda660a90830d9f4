"""Lock files: any bytes end in entries or in one of our errors, and what is written reads back."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import TidegateError
from tidegate_sender.collect.lists.lock import Asked, Locked, format_lock, parse_lock

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)
ENTRY = st.builds(
    lambda name, kind, source, platforms, digest, size: Locked(
        name, Asked(kind, source, tuple(sorted(platforms))), f"sha256:{digest.hex()}", size
    ),
    TEXT,
    st.sampled_from(("image", "layout", "files")),
    TEXT,
    st.sets(st.sampled_from(("linux/amd64", "linux/arm/v7", "linux/s390x"))),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**62),
)


@given(st.lists(ENTRY, max_size=8, unique_by=lambda entry: entry.asked))
def test_a_lock_reads_back_as_it_was_written_in_any_order(entries: list[Locked]) -> None:
    data = format_lock(entries, "transfer.yaml")
    assert set(parse_lock(data, "transfer.lock")) == set(entries)
    assert format_lock(reversed(entries), "transfer.yaml") == data


@given(st.one_of(st.binary(max_size=300), TEXT.map(lambda text: f"tidegate-lock: 1\nartifacts: {text}".encode())))
def test_any_bytes_end_in_entries_or_in_one_of_our_errors(data: bytes) -> None:
    try:
        parse_lock(data, "transfer.lock")
    except TidegateError as error:
        assert error.message


@given(st.lists(ENTRY, min_size=1, max_size=3, unique_by=lambda entry: entry.asked), st.data())
def test_a_lock_with_a_changed_byte_is_read_or_refused_by_name(entries: list[Locked], data: st.DataObject) -> None:
    written = bytearray(format_lock(entries, "transfer.yaml"))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] = data.draw(st.integers(0, 255))
    try:
        parse_lock(bytes(written), "transfer.lock")
    except TidegateError as error:
        assert error.message
