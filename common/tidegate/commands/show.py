"""``tidegate show`` and ``tidegate verify``: what a bundle is, who signed it, whether it is whole."""

from pathlib import Path
from typing import Any

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.examination.findings import Examination, MediumExamination, Refusal, Trust, Wholeness
from tidegate.report import Report, counted
from tidegate.text import printable
from tidegate.units import format_bytes

_WORDS = {
    Wholeness.WHOLE: "whole",
    Wholeness.REPAIRABLE: "damaged, and all of it can be repaired",
    Wholeness.DAMAGED: "damaged, and part of it cannot be repaired from here",
    Wholeness.UNREAD: 'head and signatures are whole; "tidegate verify" reads every byte',
}


@click.command("show", short_help="What a bundle or medium is, and who signed it; needs no keys.")
@click.argument("what", metavar="BUNDLE|PATH", required=False)
@click.option("--envelope", is_flag=True, help="Print the manifest as a standard DSSE envelope, for other tools.")
@shared_options()
def show_command(invocation: Invocation, what: str | None, envelope: bool) -> int:
    """Show what BUNDLE (a name, number, id, or .tgb file) or the medium at PATH holds. Nothing is written."""
    return _examine(invocation, what, deep=False, envelope=envelope)


@click.command("verify", short_help="Read every byte of a bundle or medium and check it.")
@click.argument("what", metavar="BUNDLE|PATH", required=False)
@shared_options()
def verify_command(invocation: Invocation, what: str | None) -> int:
    """Check signatures, every chunk and every place of BUNDLE or of the medium at PATH. Nothing is written."""
    return _examine(invocation, what, deep=True, envelope=False)


def _examine(invocation: Invocation, what: str | None, *, deep: bool, envelope: bool) -> int:
    from tidegate.examination.examine import Examiner
    from tidegate.examination.places import PlaceKind, find_place

    workspace = invocation.found_workspace()
    place = find_place(workspace, what)
    report = invocation.report
    with report.progress() as progress:
        examiner = Examiner(workspace.trust if workspace.is_initialised else None, deep, progress)
        if place.kind is PlaceKind.MEDIUM:
            found = examiner.examine_medium(place.path)
        elif place.kind is PlaceKind.FILE:
            found = MediumExamination((examiner.examine_file(place.path),), (), (), ())
        else:
            examination = examiner.examine_papers(place.path, workspace.root / "depot")
            found = MediumExamination((examination,), (), (), ())
    if envelope:
        return _print_envelope(found)
    return _report(report, found, place.path, deep=deep)


def _report(report: Report, found: MediumExamination, place: Path, *, deep: bool) -> int:
    for examination in sorted(found.bundles, key=lambda item: (item.manifest.channel_name, item.manifest.sequence)):
        _show_bundle(report, examination)
    for refusal in found.refusals:
        _show_refusal(report, refusal)
    if found.damaged_files:
        damaged = counted(len(found.damaged_files), "damaged file")
        report.line(f"{damaged}: {', '.join(found.damaged_files[:5])}")
    if found.strangers:
        report.line(f"{counted(len(found.strangers), 'other file')}, left alone")
    if not found.bundles and not found.refusals:
        from tidegate.errors import NothingOnMediumError

        raise NothingOnMediumError(f"{printable(str(place))}: no bundle is here")
    if deep:
        from tidegate.examination.examine import raise_for_damage

        for examination in found.bundles:
            raise_for_damage(examination)
    return found.refusals[0].exit_code if found.refusals else 0


def _show_bundle(report: Report, found: Examination) -> None:
    manifest = found.manifest
    report.object(_as_object(found))
    report.line(f"bundle {manifest.name}, channel {manifest.channel_name}, number {manifest.sequence}")
    report.line(f"  id        {found.bundle_id}")
    until = f", expires {manifest.expires}" if manifest.expires else ""
    report.line(f"  created   {manifest.created}{until}, for {', '.join(manifest.audience)}")
    signers = ", ".join(f"{signer.holder} (key {signer.key_id[:16]})" for signer in found.signers)
    if found.trust is Trust.PINNED:
        report.line(f"  signed    by {signers}: the channel is trusted here")
    else:
        report.line(f"  signed    by {signers}; this host does not know the channel, whose fingerprint is")
        report.line(f"            {found.fingerprint}")
    size = f"{format_bytes(manifest.content_size)}, {format_bytes(manifest.chunks_length)} packed"
    report.line(f"  holds     {counted(len(manifest.artifacts), 'artifact')}, {size}")
    for artifact in manifest.artifacts[:20]:
        report.line(f"            {printable(artifact.name)}  {artifact.kind}  {artifact.digest[:19]}…")
    if len(manifest.artifacts) > 20:
        report.line(f"            and {len(manifest.artifacts) - 20} more (--json lists all)")
    if manifest.tables.required.count:
        report.line(f"  builds on {counted(manifest.tables.required.count, 'blob')} of earlier bundles")
    places = f"; {counted(found.damage.records, 'damaged place')}" if found.damage.records else ""
    report.line(f"  state     {_WORDS[found.wholeness]}{places}")
    if found.volume is not None:
        count = f" of {found.volumes}" if found.volumes else ""
        report.line(f"  set       stick {found.volume}{count}; all that is said of it holds for this stick alone")


def _as_object(found: Examination) -> dict[str, Any]:
    from tidegate.canonical import to_builtins

    return {
        "bundle": found.manifest.name,
        "bundle_id": found.bundle_id,
        "source": found.source,
        "manifest": to_builtins(found.manifest),
        "signers": to_builtins(found.signers),
        "trust": found.trust,
        "fingerprint": found.fingerprint,
        "state": found.wholeness,
        "damaged_places": found.damage.records,
        "lost_chunks": found.damage.lost_chunks,
        "missing_files": list(found.damage.missing_files),
        **({"volume": found.volume, "volumes": found.volumes} if found.volume is not None else {}),
    }


def _show_refusal(report: Report, refusal: Refusal) -> None:
    report.object({"source": refusal.source, "error": refusal.error, "hint": refusal.hint})
    report.line(f"{refusal.source}: refused: {printable(refusal.error, 1000)}")
    if refusal.hint:
        report.line(f"  {refusal.hint}")


def _print_envelope(found: MediumExamination) -> int:
    for examination in found.bundles:
        click.echo(examination.envelope.decode("ascii"))
    return 0
