"""Values in Prometheus' text format: each metric described once, all of its samples behind that."""

from tidegate.metrics import Metrics


def made(link: str, *, value: int = 1) -> Metrics:
    metrics = Metrics()
    metrics.counter("tidegate_link_bytes_total", "Bytes.", value, link=link)
    metrics.gauge("tidegate_link_up", "Whether it runs.", 1, link=link)
    metrics.counter("tidegate_link_bytes_total", "Bytes.", value + 1, link=link, name="n")
    return metrics


def test_each_metric_is_described_once_before_all_of_its_samples() -> None:
    assert made("a").text().splitlines() == [
        "# HELP tidegate_link_bytes_total Bytes.",
        "# TYPE tidegate_link_bytes_total counter",
        'tidegate_link_bytes_total{link="a"} 1',
        'tidegate_link_bytes_total{link="a",name="n"} 2',
        "# HELP tidegate_link_up Whether it runs.",
        "# TYPE tidegate_link_up gauge",
        'tidegate_link_up{link="a"} 1',
    ]


def test_the_metrics_of_several_links_are_one_group_each_also_beside_a_file_without_descriptions() -> None:
    gathered = Metrics()
    for text in ('tidegate_link_up{link="old"} 0\n', made("a").text(), made("b").text(), ""):
        gathered.take(text)
    lines = gathered.text().splitlines()
    assert lines[:5] == [
        "# HELP tidegate_link_up Whether it runs.",
        "# TYPE tidegate_link_up gauge",
        *(f'tidegate_link_up{{link="{name}"}} {value}' for name, value in (("old", 0), ("a", 1), ("b", 1))),
    ]
    assert sum(line.startswith("# TYPE tidegate_link_bytes_total ") for line in lines) == 1
    assert len(lines) == 3 + 2 + 2 + 4


def test_a_label_cannot_end_its_own_quotes() -> None:
    metrics = Metrics()
    metrics.gauge("up", "Up.", 1, link='a"b\\c\nd')
    assert metrics.text().splitlines()[-1] == 'up{link="a\\"b\\\\c\\nd"} 1'
