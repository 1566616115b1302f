"""Certificates for tests: an authority, and what it vouches for. Made anew each time, valid for a day."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, as files."""

    cert_file: Path
    key_file: Path


class Authority:
    """Vouches for servers at 127.0.0.1 and localhost, and for clients."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _named(name)
        basic = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(
            key_cert_sign=True,
            crl_sign=True,
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = _builder(self._subject, self._subject, self._key)
        builder = builder.add_extension(basic, critical=True).add_extension(usage, critical=True)
        self.ca_file = directory / f"{name}.pem"
        self.ca_file.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def server(self) -> Certificate:
        """For a server on this machine."""
        return self._issue("server", ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self) -> Certificate:
        return self._issue("client", ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(self, role: str, usage: x509.ObjectIdentifier) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
        builder = _builder(_named(role), self._subject, key)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        issued = Certificate(self._directory / f"{self._name}-{role}.pem", self._directory / f"{self._name}-{role}.key")
        issued.cert_file.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))
        issued.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return issued


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
