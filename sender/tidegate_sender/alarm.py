"""Tell somebody that a timed run did not end well: mail over a relay, or a program. One trouble is told once a day.

What the message says is what the screen would: never a password or token. A mail that cannot be sent and a program that
fails are a warning and an entry; they change no exit code.
"""

import json
import os
import smtplib
import ssl
from base64 import b64encode
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from tidegate import clock
from tidegate.config_tables import AlarmSettings
from tidegate.errors import HostError
from tidegate.hooks import run_program, try_hook
from tidegate.registry.access import is_loopback
from tidegate.state.meta import get_meta, set_meta
from tidegate.text import printable
from tidegate.workspace import Workspace

AGAIN_SECONDS = 24 * 3600
META_KEY = "sync_alarm"
_TEXT_MAX = 4000
_LOGGED_IN = 235


def raise_alarm(workspace: Workspace, subject: str, text: str) -> tuple[str, ...]:
    """Tell it by every way that the settings name, unless the same was told within a day; what failed, in words."""
    settings = workspace.settings.alarm
    if not settings.mail_to and not settings.command:
        return ()
    with workspace.state.reading() as tx:
        told = json.loads(get_meta(tx, META_KEY) or "{}")
    if told.get("text") == text and 0 <= clock.now() - int(told.get("time", 0)) < AGAIN_SECONDS:
        return ()
    notes = _tell(workspace, subject, text)
    if not notes:
        with workspace.state.transaction() as tx:
            set_meta(tx, META_KEY, json.dumps({"text": text, "time": clock.now()}))
    return notes


def end_alarm(workspace: Workspace, subject: str) -> tuple[str, ...]:
    """All is well: say so where trouble was told before."""
    with workspace.state.reading() as tx:
        was_told = bool(get_meta(tx, META_KEY))
    if not was_told:
        return ()
    with workspace.state.transaction() as tx:
        set_meta(tx, META_KEY, "")
    return _tell(workspace, subject, "The last run ended well.")


def _tell(workspace: Workspace, subject: str, text: str) -> tuple[str, ...]:
    settings = workspace.settings.alarm
    ways: list[tuple[str, Callable[[], None]]] = []
    if settings.mail_to:
        ways.append(("mail", lambda: send_mail(settings, subject, text)))
    if settings.command:
        told = f"{subject}\n\n{text}\n".encode("utf-8", "replace")
        ways.append(("command", lambda: run_program(settings.command, told, settings.seconds)))
    notes = []
    for name, tell in ways:
        error = try_hook(workspace, tell, subject=workspace.origin, step=f"alarm {name}", done=subject)
        if error is not None:
            notes.append(f"alarm by {name}: {error.message}")
    return tuple(notes)


def send_mail(settings: AlarmSettings, subject: str, text: str) -> None:
    """One mail to all addresses. Raises HostError; never says a password."""
    message = EmailMessage()
    message["From"], message["To"] = settings.mail_from, ", ".join(settings.mail_to)
    message["Subject"] = printable(subject, 200)
    message["Date"], message["Message-ID"] = formatdate(clock.now()), make_msgid(domain=_domain(settings.mail_from))
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(printable(line, 1000) for line in text[:_TEXT_MAX].splitlines()) + "\n")
    host, _, port = settings.smtp.rpartition(":")
    if settings.smtp_user and not settings.starttls and not is_loopback(settings.smtp):
        raise HostError(f"{settings.smtp}: a password does not go over a line without TLS: set starttls = true")
    try:
        with smtplib.SMTP(host.strip("[]"), int(port), own_name(), timeout=settings.seconds) as relay:
            if settings.starttls:
                relay.starttls(context=_context(settings.ca))
            if settings.smtp_user:
                _log_in(relay, settings.smtp_user, _password(settings.smtp_password_file))
            refused = relay.send_message(message)
    except smtplib.SMTPAuthenticationError:
        raise HostError(f"{settings.smtp}: does not take the login of {settings.smtp_user}") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise HostError(f"{settings.smtp}: refused {', '.join(sorted(error.recipients))}") from None
    except ssl.SSLCertVerificationError as error:
        why = printable(error.verify_message, 200)
        raise HostError(
            f"{settings.smtp}: its certificate is not believed: {why}", hint='name its authority by "ca" in [alarm]'
        ) from None
    except smtplib.SMTPNotSupportedError:
        what = "STARTTLS" if settings.starttls and not settings.smtp_user else "STARTTLS, or logins"
        raise HostError(f"{settings.smtp}: does not offer {what}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise HostError(f"{settings.smtp}: {type(error).__name__}: the mail was not taken") from None
    if refused:
        raise HostError(f"{settings.smtp}: refused {', '.join(sorted(refused))}")


def own_name() -> str:
    """What we call ourselves at the relay: a whole name, else an address. No name server is asked."""
    name = os.uname().nodename
    return name if "." in name and name.isascii() else "[127.0.0.1]"


def _domain(address: str) -> str:
    """Of the sender: a mail's number would ask a name server for this host's otherwise."""
    return address.rpartition("@")[2] or "localhost"


def _log_in(relay: smtplib.SMTP, user: str, password: str) -> None:
    """Once, by PLAIN where it is offered, in UTF-8 (RFC 4616).

    smtplib knows ASCII alone, and tries a wrong password by each way that there is: relays lock accounts for that.
    """
    relay.ehlo_or_helo_if_needed()
    if "PLAIN" not in relay.esmtp_features.get("auth", "").upper().split():
        if not (user + password).isascii():
            raise smtplib.SMTPNotSupportedError
        relay.login(user, password)
        return
    code, answer = relay.docmd("AUTH", f"PLAIN {b64encode(f'{chr(0)}{user}{chr(0)}{password}'.encode()).decode()}")
    if code != _LOGGED_IN:
        raise smtplib.SMTPAuthenticationError(code, answer)


def _context(ca: str) -> ssl.SSLContext:
    """This host's authorities, and those of a file."""
    context = ssl.create_default_context()
    try:
        if ca:
            context.load_verify_locations(Path(ca).expanduser())
    except (OSError, ssl.SSLError):
        raise HostError(f"{ca}: is no file of certificates that can be read") from None
    return context


def _password(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise HostError(f"{path}: cannot be read") from None
