"""``tidegate serve``: a stage as a read-only registry."""

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError


@click.command("serve", short_help="A stage as a read-only registry that crane, skopeo and containerd pull from.")
@click.argument("stage", metavar="[STAGE]", required=False)
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:5000", show_default=True, help="Where to listen.")
@shared_options()
def command(invocation: Invocation, stage: str | None, listen: str) -> None:
    """Answer the pull part of the OCI distribution specification for STAGE until SIGTERM or ctrl-C."""
    from tidegate_receiver.serve import serve
    from tidegate_receiver.stages import find_stage

    workspace = invocation.workspace(Role.HIGH)
    folder = find_stage(workspace, stage)

    def ready(address: str) -> None:
        invocation.report.closing(
            f"serving stage {folder.name} on http://{address}", stage=folder.name, address=address
        )

    serve(folder, parse_address(listen), ready=ready)


def parse_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:5000``, ``[::1]:5000`` or ``:5000`` (all addresses)."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{text!r} is no address: write it like 127.0.0.1:5000")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 - asked for by name
