"""Options that every command over a link shares, and the words about what is known of the other side: nothing."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.errors import UsageError
from tidegate_sender.commands.amounts import parse_percent, parse_seconds

if TYPE_CHECKING:
    from tidegate.carrier.stream.address import StreamAddress
    from tidegate.config import Settings
    from tidegate.workspace import Workspace
    from tidegate_sender.stream.delivery import StreamOptions
    from tidegate_sender.stream.link import Link
    from tidegate_sender.stream.pacing import RateSchedule

DEFAULT_RATE = "1gbit"
SPEED_SHARE = 0.9  # of an interface's own speed: what is sent without a word about the rate


@dataclass(frozen=True, slots=True)
class LinkWords:
    """What a person said about the link, as typed."""

    rate: str | None = None
    expected_loss: str | None = None
    burst: str | None = None
    memory: str | None = None
    mtu: int | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were given."""
        values = {
            "--rate": self.rate,
            "--expected-loss": self.expected_loss,
            "--burst": self.burst,
            "--memory": self.memory,
            "--mtu": self.mtu,
        }
        return tuple(name for name, value in values.items() if value is not None)


def take_link_words(words: dict[str, Any]) -> LinkWords:
    """Take those options of a command out of `words` that are about its link."""
    return LinkWords(**{item.name: words.pop(item.name) for item in fields(LinkWords)})


def link_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--rate --expected-loss --burst --memory --mtu``."""
    for option in (
        click.option(
            "--mtu", metavar="BYTES", type=click.IntRange(576, 65535), help="Link: the MTU [the interface's]."
        ),
        click.option("--memory", metavar="SIZE", help="Link: memory of either side, bounds the groups [192M]."),
        click.option("--burst", metavar="TIME", help="Link: how long a gap is borne, e.g. 5ms [5ms]."),
        click.option("--expected-loss", metavar="PERCENT", help="Link: bear so much random loss, e.g. 1%."),
        click.option(
            "--rate",
            metavar="RATE",
            help="Link: e.g. 9gbit, or by time of day 1gbit,22:00-06:00=9gbit [nine tenths of the interface's].",
        ),
    ):
        function = option(function)
    return function


def open_link(address: "StreamAddress", words: LinkWords) -> "tuple[Link, RateSchedule]":
    """An open link and the rate on it. Raises LinkError and UsageError."""
    from tidegate_sender.stream.link import Link
    from tidegate_sender.stream.pacing import parse_schedule

    given = parse_schedule(words.rate) if words.rate else None
    link = Link(address, mtu=words.mtu)
    schedule = given or _default_schedule(link)
    link.pace(schedule.highest)
    return link, schedule


def _default_schedule(link: "Link") -> "RateSchedule":
    from tidegate_sender.stream.pacing import RateSchedule, parse_rate

    try:
        megabits = int((Path("/sys/class/net") / (link.interface or "-") / "speed").read_text())
    except (OSError, ValueError):  # lo and tunnels have none
        megabits = 0
    return RateSchedule(int(megabits * 125_000 * SPEED_SHARE) if megabits > 0 else parse_rate(DEFAULT_RATE))


def stream_options(
    settings: "Settings", schedule: "RateSchedule", words: LinkWords, redundancy: float | None
) -> "StreamOptions":
    """The options as the sender takes them. Raises UsageError."""
    from tidegate.units import parse_bytes
    from tidegate_sender.stream.delivery import DEFAULT_BURST_SECONDS, StreamOptions

    if redundancy is not None and words.expected_loss is not None:
        raise UsageError("--redundancy and --expected-loss are two answers to one question: give one")
    loss = parse_percent(words.expected_loss) if words.expected_loss is not None else None
    share = settings.redundancy if redundancy is None else redundancy
    return StreamOptions(
        schedule,
        redundancy=None if loss is not None else share,
        expected_loss=loss,
        burst_seconds=parse_seconds(words.burst) if words.burst is not None else DEFAULT_BURST_SECONDS,
        memory_bytes=parse_bytes(words.memory) if words.memory is not None else settings.memory_bytes,
    )


def slip_words(workspace: "Workspace") -> str:
    """What is known of the other side: when its last return slip was read, and no more."""
    from tidegate import clock
    from tidegate.units import format_duration
    from tidegate_sender.slips.memory import last_heard

    channel = workspace.trust.own_channel().channel_id
    with workspace.state.reading() as tx:
        times = [heard for site in workspace.settings.sites if (heard := last_heard(tx, channel, site)) is not None]
    if not times:
        return "no return slip was ever read"
    age = max(0, clock.now() - max(times))
    days = age // 86400
    ago = f"{days} day{'' if days == 1 else 's'} ago" if days else f"{format_duration(age)} ago"
    return f"last return slip {ago}"
