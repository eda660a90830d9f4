"""``tidegate doctor``: what this host has and lacks, and what mends it. Changes nothing and needs no root."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import click

from tidegate.commands.findings import Finding, State
from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import TidegateError
from tidegate.units import GIB, format_bytes
from tidegate.workspace import Workspace


@click.command("doctor", short_help="What this host has and lacks; which erasure-code engine is used.")
@click.option("--link", metavar="udp://ADDRESS", help="Look at this host's end of a link instead.")
@shared_options()
def command(invocation: Invocation, link: str | None) -> int:
    """Look at the interpreter, the erasure-code engine, the root, its disk, the ledger, media and clients; with --link
    at interface, neighbour entry, buffers, offloads and queues of a link.

    Ends with 0 unless something needed is lacking (then 73).
    """
    workspace = Workspace.find(invocation.root)
    if link is not None:
        from tidegate.carrier.stream.address import parse_address
        from tidegate.commands.doctor_link import look_at_link

        role = workspace.settings.role if workspace.is_initialised else None
        findings = list(look_at_link(parse_address(link), role))
    else:
        findings = [finding for look in LOOKS for finding in look(workspace)]
    report = invocation.report
    report.table(("what", "", "found"), [(item.subject, item.state, item.text) for item in findings])
    for item in findings:
        if item.mend and item.state is not State.OK:
            report.line(f"{item.subject}: {item.mend}")
    lacking = [item.subject for item in findings if item.state is State.LACKS]
    summary = f"lacking: {', '.join(lacking)}" if lacking else "this host has what Tidegate needs"
    report.closing(summary, findings=[asdict(item) for item in findings])
    return 73 if lacking else 0


def look_at_python(_workspace: Workspace) -> Iterator[Finding]:
    yield Finding("python", State.OK, f"{sys.version.split()[0]}, {os.cpu_count()} cores")


def look_at_engine(_workspace: Workspace) -> Iterator[Finding]:
    from tidegate.erasure.choice import describe_engine

    engine = describe_engine()
    if engine.name == "isal":
        yield Finding("erasure code", State.OK, f"ISA-L, {engine.library}")
    else:
        mend = "pip install pyeclib (x86-64 and arm64), or the system's libisal"
        yield Finding("erasure code", State.NOTE, f"numpy: right, but slower ({engine.why_not_isal})", mend)


def look_at_root(workspace: Workspace) -> Iterator[Finding]:
    if not workspace.is_initialised:
        mend = "tidegate init low --channel NAME --site SITE, or tidegate init high --site NAME"
        yield Finding("root", State.LACKS, f"{workspace.root}: not initialised", mend)
        return
    yield Finding("root", State.OK, f"{workspace.root}: {workspace.settings.role} side, ledger {workspace.origin}")
    free = shutil.disk_usage(workspace.root).free
    state = State.OK if free > 10 * GIB else State.NOTE
    yield Finding(
        "disk", state, f"{format_bytes(free)} free", "make room: bundles need their size twice while they are made"
    )
    mode = (workspace.root / "keys").stat().st_mode & 0o777 if (workspace.root / "keys").is_dir() else None
    if mode is not None and mode & 0o077:
        yield Finding("keys", State.LACKS, f"mode {mode:o}", f"chmod 700 {workspace.root / 'keys'}")


def look_at_ledger(workspace: Workspace) -> Iterator[Finding]:
    if not workspace.is_initialised:
        return
    from tidegate.state.outbox import count_waiting

    try:
        with workspace.state.reading() as tx:
            waiting = count_waiting(tx)
        workspace.recorder.check()
    except TidegateError as error:
        yield Finding("ledger", State.LACKS, error.message, error.hint)
        return
    yield Finding("ledger", State.OK, f"takes entries; {waiting} were waiting")


def look_at_clock(workspace: Workspace) -> Iterator[Finding]:
    if workspace.is_initialised and workspace.settings.role is Role.HIGH and not workspace.settings.clock_trusted:
        text = "not trusted: expiry is judged by the newest time that a bundle was signed at"
        yield Finding("clock", State.OK, text)


def look_at_media(_workspace: Workspace) -> Iterator[Finding]:
    known = Path("/proc/filesystems").read_text(encoding="ascii").split()
    there = [name for name in ("vfat", "exfat", "ext4", "ntfs3") if name in known]
    fuse = [name for name in ("exfat-fuse", "ntfs-3g") if shutil.which(f"mount.{name}", path=_ADMIN_PATH)]
    text = f"file systems: {', '.join(there + fuse) or 'none of vfat, exfat, ext4'}"
    if "vfat" not in there:
        yield Finding("media", State.NOTE, text + "; no vfat (may be a module that is not loaded)", "modprobe vfat")
    else:
        yield Finding("media", State.OK, text)


def look_at_clients(_workspace: Workspace) -> Iterator[Finding]:
    found = [name for name in ("skopeo", "crane", "oras", "docker", "podman") if shutil.which(name)]
    yield Finding("clients", State.OK, ", ".join(found) or "no skopeo, crane, oras, docker or podman; none is needed")


_ADMIN_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
LOOKS: tuple[Callable[[Workspace], Iterator[Finding]], ...] = (
    look_at_python,
    look_at_engine,
    look_at_root,
    look_at_ledger,
    look_at_clock,
    look_at_media,
    look_at_clients,
)
