"""``tidegate slip``: print what arrived and what is missing, for the office."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import TidegateError, UsageError

if TYPE_CHECKING:
    from segno import QRCode

    from tidegate.report import Report
    from tidegate.slip.proof import SlipProof
    from tidegate.slip.slip import Slip
    from tidegate_receiver.slip import PrintedSlip

PICTURES = (".png", ".svg", ".pdf")
QUIET_MODULES = 4  # light modules around the symbol, as ISO 18004 asks
SCALE = 6  # pixels or points a module: a slip is about 4 cm on paper at 300 dpi, 12 cm on a screen


@click.command("print", short_help="High side: print the slip.")
@click.option("--channel", metavar="NAME", help="The channel, where there is more than one.")
@click.option("--qr", is_flag=True, help="Also as a QR code on this terminal.")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help=".txt, .png, .svg, .pdf.")
@click.option("--proof", is_flag=True, help="With the proof that lets the office co-sign this site's ledger again.")
@click.option(
    "--proof-from",
    metavar="SIZE",
    type=click.IntRange(min=1),
    help="The same from SIZE entries, as the office asks.",
)
@shared_options(writes=True)
def command(
    invocation: Invocation, channel: str | None, qr: bool, out: Path | None, proof: bool, proof_from: int | None
) -> None:
    """Print what this site holds and misses of a channel, under the head of its ledger: text to type, a QR code to
    scan, or a FILE to print. Somebody carries it to the low side: "tidegate slip read"."""
    from tidegate_receiver.slip import choose_channel, cosigned_size, make_slip

    if out is not None and out.suffix.lower() not in {".txt", *PICTURES}:
        raise UsageError(f"{out}: a slip is written as .txt, .png, .svg or .pdf")
    workspace = invocation.workspace(Role.HIGH)
    report = invocation.report
    chosen = choose_channel(workspace, channel)
    if proof and proof_from is None:
        proof_from = cosigned_size(workspace, chosen.channel_id)
        if proof_from is None:
            report.warn("no co-signature of this site's ledger has come up yet; the first one needs no proof")
    made = make_slip(workspace, chosen, dry_run=invocation.dry_run, proof_from=proof_from)
    if made.left_out:
        report.warn(f"{made.left_out} numbers do not fit; the office will take them for neither here nor missing")
    if made.slip is not None:
        _show(report, made, made.slip, qr=qr)
        if out is not None:
            try:
                write_slip(made.slip, out.absolute(), made.proof)
            except TidegateError as error:
                from tidegate_receiver.slip import record_not_written

                record_not_written(workspace, made.channel_name, error)
                raise
    _close(report, made, out)


def _show(report: "Report", made: "PrintedSlip", slip: "Slip", *, qr: bool) -> None:
    proof = made.proof.printed() if made.proof is not None else ""
    for line in (slip.printed() + proof).splitlines():
        report.line(line)
    if qr:
        import io

        drawn = io.StringIO()
        qr_code(slip, made.proof).terminal(out=drawn, border=QUIET_MODULES, compact=True)
        report.line(drawn.getvalue().rstrip("\n"))


def _close(report: "Report", made: "PrintedSlip", out: Path | None) -> None:
    held, missing = made.held.words() or "nothing", made.missing.words() or "nothing"
    where = f"; written to {out}" if out is not None and made.slip is not None else ""
    if made.withheld:
        where += f"; not told, by slip_fields: {', '.join(made.withheld)}"
    following = "nothing was recorded" if made.slip is None else 'on the low side: "tidegate slip read"'
    report.closing(
        f"slip for channel {made.channel_name}: here {held}; missing {missing}{where}; {following}",
        channel=made.channel_name,
        held=str(made.held),
        missing=str(made.missing),
        left_out=made.left_out,
        slip=made.slip.text() if made.slip else None,
        code=str(made.slip.statement.code or "") if made.slip else None,
        ledger_size=made.slip.statement.size if made.slip else None,
        withheld=list(made.withheld),
        proof=made.proof.text() if made.proof else None,
        out=str(out) if out else None,
    )


def qr_code(slip: "Slip", proof: "SlipProof | None" = None) -> "QRCode":
    """The slip's bytes as a QR code; level L, since a slip has checks of its own and a small one scans better."""
    import segno

    text = slip.text() if proof is None else f"{slip.text()}/{proof.text()}"
    return segno.make_qr(text, error="l", boost_error=True)


def write_slip(slip: "Slip", path: Path, proof: "SlipProof | None" = None) -> None:
    """Write the slip as its ending says. Raises HostError, DiskFullError."""
    from tidegate.files import host_error, write_durably

    data = (slip.printed() + (proof.printed() if proof is not None else "")).encode()
    kind = path.suffix.lower().removeprefix(".")
    if kind != "txt":
        import io

        picture = io.BytesIO()
        qr_code(slip, proof).save(picture, kind=kind, scale=SCALE, border=QUIET_MODULES)
        data = picture.getvalue()
    try:
        write_durably(path, data)
    except OSError as error:
        raise host_error(error, f"writing {path}") from None
