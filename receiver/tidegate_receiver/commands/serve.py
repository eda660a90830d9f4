"""``tidegate serve``: a stage as a read-only registry."""

from pathlib import Path

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError

_FILE = click.Path(path_type=Path)


@click.command("serve", short_help="A stage as a read-only registry and chart repository for crane, containerd, helm.")
@click.argument("stage", metavar="[STAGE]", required=False)
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:5000", show_default=True, help="Where to listen.")
@click.option("--tls-cert", metavar="FILE", type=_FILE, help="Certificate (PEM, with its chain): answer with TLS.")
@click.option("--tls-key", metavar="FILE", type=_FILE, help="Private key of the certificate (PEM).")
@shared_options()
def command(
    invocation: Invocation, stage: str | None, listen: str, tls_cert: Path | None, tls_key: Path | None
) -> None:
    """Answer for STAGE until SIGTERM or ctrl-C: OCI pull with referrers, `helm repo add`, and a page for people."""
    from tidegate_receiver.promotion.stages import find_stage
    from tidegate_receiver.serving.server import TlsFiles, serve

    workspace = invocation.workspace(Role.HIGH)
    folder = find_stage(workspace, stage)
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    tls = TlsFiles(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    scheme = "http" if tls is None else "https"

    def ready(address: str) -> None:
        invocation.report.closing(
            f"serving stage {folder.name} on {scheme}://{address}", stage=folder.name, address=address, scheme=scheme
        )

    serve(folder, parse_address(listen), ready=ready, tls=tls)


def parse_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:5000``, ``[::1]:5000`` or ``:5000`` (all addresses)."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{text!r} is no address: write it like 127.0.0.1:5000")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 - asked for by name
