"""A burst is borne by repair symbols wherever they can, also where no random loss is expected."""

from tidegate.carrier.stream.parts import bears_burst, plan_stream_parts

LENGTHS = (1000, 20_000, 1 << 30)


def test_a_burst_is_borne_by_repairs_where_no_loss_is_expected():
    parts = plan_stream_parts(LENGTHS, 1440, expected_loss=0.0, burst_bytes=6_250_000)
    assert bears_burst(parts, 6_250_000)
    assert parts[2].repair_count < parts[2].source_count / 4


def test_without_loss_and_burst_nothing_is_added():
    assert plan_stream_parts(LENGTHS, 1440, expected_loss=0.0)[2].repair_count == 0


def test_no_redundancy_at_all_is_taken_at_its_word():
    assert plan_stream_parts(LENGTHS, 1440, redundancy=0.0, burst_bytes=6_250_000)[2].repair_count == 0
