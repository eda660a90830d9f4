"""``tidegate link``: what this side can know of its links, and no more. The halves plug in by role."""

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Group, Invocation, shared_options

if TYPE_CHECKING:
    from tidegate.config import Role
    from tidegate.link_status import StatusMaker


@click.group("link", cls=Group, short_help="What this side can know of its links.")
def command() -> None:
    """The links of this side, through data diodes."""


@command.command("status", short_help="What was sent or came, what was lost and where.")
@click.option("--metrics", is_flag=True, help="In Prometheus' text format.")
@shared_options()
def status_command(invocation: Invocation, metrics: bool) -> int:
    """On the low side: what was sent and what waits; never what arrived. On the high side: what came, what was lost on
    the wire, in the kernel and here, heartbeats, and sessions under way. Ends with 1 where a link is not well."""
    workspace = invocation.workspace()
    links = find_status_maker(workspace.settings.role)(workspace)
    report = invocation.report
    if metrics:
        from tidegate.metrics import Metrics

        gathered = Metrics()  # several links have the same metrics, and each may be described once
        for link in links:
            gathered.take(link.metrics)
        print(gathered.text(), end="")
        return 0
    for link in links:
        report.object({"link": link.address, "is_well": link.is_well, **link.facts})
        for line in link.lines:
            report.line(line)
    if not links:
        report.closing("no link was used yet", links=0)
    return 0 if all(link.is_well for link in links) else 1


def find_status_maker(role: "Role") -> "StatusMaker":
    """The half of this side."""
    (point,) = entry_points(group="tidegate.link", name=role.value)
    maker: StatusMaker = point.load()
    return maker
