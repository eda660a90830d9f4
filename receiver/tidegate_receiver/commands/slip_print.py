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
    from tidegate.slip.slip import Slip
    from tidegate_receiver.slip import PrintedSlip

PICTURES = (".png", ".svg", ".pdf")
QUIET_MODULES = 4  # light modules around the symbol, as ISO 18004 asks
SCALE = 6  # pixels or points a module: a slip is about 4 cm on paper at 300 dpi, 12 cm on a screen


@click.command("print", short_help="High side: print the slip.")
@click.option("--channel", metavar="NAME", help="The channel, where there is more than one.")
@click.option("--qr", is_flag=True, help="Also as a QR code on this terminal.")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help=".txt, .png, .svg, .pdf.")
@shared_options(writes=True)
def command(invocation: Invocation, channel: str | None, qr: bool, out: Path | None) -> None:
    """Print what this site holds and misses of a channel, under the head of its ledger: text to type, a QR code to
    scan, or a FILE to print. Somebody carries it to the low side: "tidegate slip read"."""
    from tidegate_receiver.slip import choose_channel, make_slip

    if out is not None and out.suffix.lower() not in {".txt", *PICTURES}:
        raise UsageError(f"{out}: a slip is written as .txt, .png, .svg or .pdf")
    workspace = invocation.workspace(Role.HIGH)
    made = make_slip(workspace, choose_channel(workspace, channel), dry_run=invocation.dry_run)
    report = invocation.report
    if made.left_out:
        report.warn(f"{made.left_out} numbers do not fit; the office will take them for neither here nor missing")
    if made.slip is not None:
        _show(report, made.slip, qr=qr)
        if out is not None:
            try:
                write_slip(made.slip, out.absolute())
            except TidegateError as error:
                from tidegate_receiver.slip import record_not_written

                record_not_written(workspace, made.channel_name, error)
                raise
    _close(report, made, out)


def _show(report: "Report", slip: "Slip", *, qr: bool) -> None:
    for line in slip.printed().splitlines():
        report.line(line)
    if qr:
        import io

        drawn = io.StringIO()
        qr_code(slip).terminal(out=drawn, border=QUIET_MODULES, compact=True)
        report.line(drawn.getvalue().rstrip("\n"))


def _close(report: "Report", made: "PrintedSlip", out: Path | None) -> None:
    held, missing = made.held.words() or "nothing", made.missing.words() or "nothing"
    where = f"; written to {out}" if out is not None and made.slip is not None else ""
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
        out=str(out) if out else None,
    )


def qr_code(slip: "Slip") -> "QRCode":
    """The slip's bytes as a QR code; level L, since a slip has checks of its own and a small one scans better."""
    import segno

    return segno.make_qr(slip.text(), error="l", boost_error=True)


def write_slip(slip: "Slip", path: Path) -> None:
    """Write the slip as its ending says. Raises HostError, DiskFullError."""
    from tidegate.files import host_error, write_durably

    data = slip.printed().encode()
    kind = path.suffix.lower().removeprefix(".")
    if kind != "txt":
        import io

        picture = io.BytesIO()
        qr_code(slip).save(picture, kind=kind, scale=SCALE, border=QUIET_MODULES)
        data = picture.getvalue()
    try:
        write_durably(path, data)
    except OSError as error:
        raise host_error(error, f"writing {path}") from None
