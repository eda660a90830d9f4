"""A certificate authority of the tests' own, and certificates for this machine."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_START = datetime.datetime(2020, 1, 1)  # in the past for every clock that a test may run under
_END = datetime.datetime(2090, 1, 1)


@dataclass(frozen=True)
class Authority:
    """`ca` is what clients believe."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path, name: str = "tests") -> "Authority":
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name)
        built = _builder(subject, subject, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        authority = cls(folder, key, built.sign(key, SHA256()))
        authority.ca.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
        return authority

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, *names: str) -> tuple[Path, Path]:
        """Certificate and key for localhost, 127.0.0.1 and `names`."""
        key = ec.generate_private_key(ec.SECP256R1())
        hosts: list[x509.GeneralName] = [x509.DNSName(name) for name in ("localhost", *names)]
        hosts.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        built = _builder(_named("server"), self.certificate.subject, key)
        made = built.add_extension(x509.SubjectAlternativeName(hosts), False).sign(self.key, SHA256())
        certificate, private = self.folder / "server.pem", self.folder / "server.key"
        certificate.write_bytes(made.public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, private


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_START)
        .not_valid_after(_END)
    )
