"""Mail of an alarm to a real relay (aiosmtpd): TLS with an authority of the house, logins, and what goes wrong."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from certificates import Authority

from tidegate.config_tables import AlarmSettings
from tidegate.errors import HostError
from tidegate_sender.alarm import own_name, send_mail

PASSWORD, PLAIN = "geheim-4711-päß", "geheim 4711"


class Kept:
    """What a relay was given."""

    def __init__(self) -> None:
        self.mails: list[tuple[Message, list[str], bool]] = []
        self.names: list[str] = []

    async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, name: str, said: list[str]) -> Any:
        session.host_name = name
        self.names.append(name)
        return said

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        self.mails.append((mail, list(envelope.rcpt_tos), session.ssl is not None))
        return "250 taken"


class Relay(Controller):
    """On a free port of this machine."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        create_connection((self.hostname, self.port), 5).close()


@contextmanager
def running(handler: object, **how: Any) -> Iterator[str]:
    relay = Relay(handler, hostname="127.0.0.1", port=0, **how)
    relay.start()
    try:
        yield f"127.0.0.1:{relay.port}"
    finally:
        relay.stop()


def takes(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword) -> AuthResult:
    known = {(b"tide", password.encode()) for password in (PASSWORD, PLAIN)}
    return AuthResult(success=(data.login, data.password) in known, handled=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"), "the house")


@pytest.fixture
def secure(authority: Authority) -> dict[str, Any]:
    """A relay that takes nothing before TLS and a login."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue())
    return {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": takes}


def settings(address: str, folder: Path, ca: Path | None, password: str = PASSWORD, **more: Any) -> AlarmSettings:
    (folder / "password").write_text(f"{password}\n", encoding="utf-8")
    return AlarmSettings(
        mail_to=("ops@plant.example", "office@plant.example"),
        mail_from="tidegate@plant.example",
        smtp=address,
        starttls=True,
        smtp_user="tide",
        smtp_password_file=str(folder / "password"),
        ca=str(ca) if ca else "",
        seconds=5,
        **more,
    )


@pytest.mark.parametrize("ways", [{}, {"auth_exclude_mechanism": ["PLAIN"]}])
@pytest.mark.parametrize("password", [PASSWORD, PLAIN])
def test_a_mail_goes_over_tls_with_a_login_and_is_a_whole_mail(
    authority: Authority, secure: dict[str, Any], tmp_path: Path, password: str, ways: dict[str, Any]
) -> None:
    with running(kept := Kept(), **secure, **ways) as address:
        found = settings(address, tmp_path, authority.ca, password)
        if ways and not password.isascii():
            with pytest.raises(HostError, match="does not offer STARTTLS, or logins"):
                send_mail(found, "s", "t")
            return
        send_mail(found, "sync failed: Größe\nBcc: x@y", "first line\n.\nthird – end")
    ((mail, to, is_secure),) = kept.mails
    assert is_secure
    assert to == ["ops@plant.example", "office@plant.example"]
    assert str(mail["Subject"]).startswith("sync failed: Größe")
    assert mail["Bcc"] is None
    assert mail["Date"]
    assert str(mail["Message-ID"]).endswith("@plant.example>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_payload(decode=True).decode().splitlines() == ["first line", ".", "third – end"]  # type: ignore[union-attr]
    assert set(kept.names) == {own_name()}


def test_a_relay_of_an_authority_that_nobody_named_gets_neither_mail_nor_password(
    secure: dict[str, Any], tmp_path: Path, authority: Authority
) -> None:
    other = Authority.make(tmp_path / "other", "somebody else")
    with running(kept := Kept(), **secure) as address:
        for ca in (None, other.ca):
            with pytest.raises(HostError, match="certificate is not believed") as caught:
                send_mail(settings(address, tmp_path, ca), "s", "t")
            assert '"ca"' in caught.value.hint
        with pytest.raises(HostError, match="no file of certificates"):
            send_mail(settings(address, tmp_path, tmp_path / "password"), "s", "t")
    assert kept.mails == []


def test_a_certificate_for_another_host_is_not_believed(tmp_path: Path, authority: Authority) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("relay.example"))
    with running(kept := Kept(), tls_context=context, require_starttls=True) as address:
        port = address.rpartition(":")[2]
        found = settings(f"127.0.0.2:{port}", tmp_path, authority.ca)
        with pytest.raises(HostError):
            send_mail(found, "s", "t")
    assert kept.mails == []


def test_a_wrong_login_is_said_without_the_password(
    authority: Authority, secure: dict[str, Any], tmp_path: Path
) -> None:
    with running(kept := Kept(), **secure) as address:
        with pytest.raises(HostError, match="does not take the login of tide") as caught:
            send_mail(settings(address, tmp_path, authority.ca, password="wrong-4712"), "s", "t")
        assert "wrong-4712" not in str(caught.value)
        with pytest.raises(HostError, match="cannot be read"):
            send_mail(replace(settings(address, tmp_path, authority.ca), smtp_password_file="/nowhere"), "s", "t")
    assert kept.mails == []


def test_without_starttls_there_no_password_goes(authority: Authority, tmp_path: Path) -> None:
    with running(kept := Kept()) as address:
        with pytest.raises(HostError, match="does not offer STARTTLS"):
            send_mail(settings(address, tmp_path, authority.ca), "s", "t")
        bare = replace(settings(address, tmp_path, None), starttls=False, smtp="relay.example:25")
        with pytest.raises(HostError, match="does not go over a line without TLS"):
            send_mail(bare, "s", "t")
    assert kept.mails == []


def test_whom_the_relay_refuses_is_named_and_the_others_get_it(
    authority: Authority, secure: dict[str, Any], tmp_path: Path
) -> None:
    with running(kept := Kept(), **secure) as address:
        found = settings(address, tmp_path, authority.ca)
        with pytest.raises(HostError, match=r"refused nobody@plant\.example"):
            send_mail(replace(found, mail_to=("ops@plant.example", "nobody@plant.example")), "s", "t")
        with pytest.raises(HostError, match=r"refused nobody@plant\.example"):
            send_mail(replace(found, mail_to=("nobody@plant.example",)), "s", "t")
    assert [to for _, to, _ in kept.mails] == [["ops@plant.example"]]


def test_a_relay_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = settings(f"127.0.0.1:{silent.getsockname()[1]}", tmp_path, None)
        with pytest.raises(HostError, match="the mail was not taken"):
            send_mail(replace(found, seconds=1), "s", "t")
