"""TLS from files: certificates that are renewed on disk are taken up without a restart."""

import ssl
from contextlib import suppress
from pathlib import Path

import grpc

from midstream_server.settings import TlsFiles


class TlsUnusable(Exception):
    """A file cannot be read, or is not what it should be; the text says which one and why."""


def grpc_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """For a gRPC port. Raises TlsUnusable."""
    _context(files)  # gRPC itself says nothing about a bad file: its handshakes fail.
    used = _stamp(files)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        stamp = _stamp(files)
        if stamp == used:
            return None
        try:
            _context(files)
        except TlsUnusable:
            return None  # Half written: the old one is good until the next handshake.
        used = stamp
        return _configuration(files)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(files),
        renewed,  # type: ignore[arg-type]  # None, as gRPC documents, for what it has already
        require_client_authentication=files.client_ca is not None,
    )


def ssl_context(files: TlsFiles) -> ssl.SSLContext:
    """For a listener on Python's own TLS, such as the web edge's. Raises TlsUnusable."""
    first = latest = _context(files)
    used = _stamp(files)

    def renewed(handshake: ssl.SSLObject, _name: str | None, _context_of_listener: ssl.SSLContext) -> None:
        nonlocal latest, used
        stamp = _stamp(files)
        if stamp != used:
            with suppress(TlsUnusable):  # Half written: the old one is good until the next handshake.
                latest, used = _context(files), stamp
        if latest is not first:
            handshake.context = latest

    first.sni_callback = renewed
    return first


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.cert, files.key)
    except (OSError, ssl.SSLError) as error:
        raise TlsUnusable(f"cannot use the certificate {files.cert} with the key {files.key}: {error}") from None
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise TlsUnusable(f"cannot use the client authorities {files.client_ca}: {error}") from None
    return context


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    pair = (files.key.read_bytes(), files.cert.read_bytes())
    return grpc.ssl_server_certificate_configuration(
        [pair], root_certificates=None if files.client_ca is None else files.client_ca.read_bytes()
    )


def _stamp(files: TlsFiles) -> list[tuple[int, int]]:
    return [_stamp_of(path) for path in files if path is not None]


def _stamp_of(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_ino)
