"""A certificate authority for development and tests: ``python -m meshkit.development_ca --out FOLDER NAME…``.

It makes what a mesh with TLS needs and leaves alone what is still good, so that it may be run again at any time, also
under a running mesh. Its key lies beside the certificates; where that is not acceptable, something else must issue them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import ipaddress
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshkit.tls import mesh_name

AUTHORITY: Final = "ca"
"""The name of the authority's own files, ``ca.pem`` and ``ca-key.pem``."""

EDGE: Final = "edge"
"""Envoy as a client of the services."""

PUBLIC: Final = "public"
"""Envoy's public listener."""

OPERATOR: Final = "operator"
"""Whoever looks after the mesh: `make status`, the tests, the benchmarks."""

_AUTHORITY_DAYS: Final = 3650
_DAYS: Final = 90
_RENEW_DAYS: Final = 30
_BACKDATE: Final = dt.timedelta(minutes=5)
_LOCAL_NAMES: Final = ("localhost",)
_LOCAL_ADDRESSES: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate is for.

    Attributes:
        name: The name of its files.
        names: The DNS names that it proves.
        addresses: The IP addresses that it proves.
        server: Whether it is good for a server.
        client: Whether it is good for a client.
    """

    name: str
    names: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    server: bool = True
    client: bool = True


def subjects(services: Iterable[str], public_names: Sequence[str] = ()) -> list[Subject]:
    """Returns whom a mesh needs certificates for.

    Args:
        services: The names of the services; each is a server and calls others.
        public_names: DNS names and addresses by which the edge is reached, beside those of this machine.
    """
    addresses = [each for each in public_names if _is_address(each)]
    names = [each for each in public_names if not _is_address(each)]
    return [
        *(Subject(service, (mesh_name(service),)) for service in services),
        Subject(EDGE, (mesh_name(EDGE),), server=False),
        Subject(OPERATOR, (mesh_name(OPERATOR),), server=False),
        Subject(PUBLIC, (*_LOCAL_NAMES, *names), (*_LOCAL_ADDRESSES, *addresses), client=False),
    ]


@dataclass(frozen=True)
class Authority:
    """What signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, now: dt.datetime | None = None) -> Self:
        """Makes an authority with a key of its own."""
        start = (now or dt.datetime.now(dt.UTC)) - _BACKDATE
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "geomesh development CA")])
        certificate = (
            _builder(name, name, key.public_key(), start, start + dt.timedelta(days=_AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    def sign(self, subject: Subject, *, days: float = _DAYS, now: dt.datetime | None = None) -> tuple[bytes, bytes]:
        """Returns a certificate and its new key, as PEM.

        Args:
            subject: Whom it is for.
            days: How long it is valid.
            now: From when.
        """
        start = (now or dt.datetime.now(dt.UTC)) - _BACKDATE
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH] * subject.server + [
            ExtendedKeyUsageOID.CLIENT_AUTH
        ] * subject.client
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.name)])
        certificate = (
            _builder(name, self.certificate.subject, key.public_key(), start, start + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName(_alternative_names(subject)), critical=False)
            .add_extension(authority_key, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM), _private(key)

    @property
    def pem(self) -> bytes:
        """The certificate that others are to believe."""
        return self.certificate.public_bytes(Encoding.PEM)


def issue(folder: Path, wanted: Iterable[Subject], *, renew: bool = False) -> list[str]:
    """Makes the certificates that are missing, expire within a month or are for other names, and returns their names.

    Each pair is ``NAME.pem`` and ``NAME-key.pem``; keys are for their owner alone.

    Args:
        folder: Where they are kept.
        wanted: Whom they are for.
        renew: Whether those that are still good are replaced too; the authority stays.

    Raises:
        ValueError: The authority in the folder is damaged.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, made = _authority(folder)
    issued = [AUTHORITY] if made else []
    for subject in wanted:
        if renew or made or not _good(folder / f"{subject.name}.pem", subject, authority):
            certificate, key = authority.sign(subject)
            # The key first: whoever reads between the two sees that they are no pair, and reads again.
            _replace(folder / f"{subject.name}-key.pem", key, 0o600)
            _replace(folder / f"{subject.name}.pem", certificate, 0o644)
            issued.append(subject.name)
    return issued


def _authority(folder: Path) -> tuple[Authority, bool]:
    """Returns the folder's authority, and whether it was made just now."""
    certificate, key = folder / f"{AUTHORITY}.pem", folder / f"{AUTHORITY}-key.pem"
    if certificate.exists() and key.exists():
        try:
            authority = Authority(
                x509.load_pem_x509_certificates(certificate.read_bytes())[0], _loaded_key(key.read_bytes())
            )
        except ValueError as error:
            raise ValueError(f"{certificate} or {key} is damaged: {error}; remove both to begin anew") from None
        if _remaining(authority.certificate) > dt.timedelta(days=_DAYS):
            return authority, False
    authority = Authority.new()
    _replace(key, _private(authority.key), 0o600)
    _replace(certificate, authority.pem, 0o644)
    return authority, True


def _good(path: Path, subject: Subject, authority: Authority) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = _loaded_key(path.with_name(f"{subject.name}-key.pem").read_bytes())
        certificate.verify_directly_issued_by(authority.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return (
        _remaining(certificate) > dt.timedelta(days=_RENEW_DAYS)
        and set(names) >= set(_alternative_names(subject))
        and _public(certificate.public_key()) == _public(key.public_key())
    )


def _remaining(certificate: x509.Certificate) -> dt.timedelta:
    return certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    start: dt.datetime,
    end: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(subject: Subject) -> list[x509.GeneralName]:
    return [
        *(x509.DNSName(name) for name in subject.names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in subject.addresses),
    ]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("no key of ours")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _loaded_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is no elliptic-curve key")  # noqa: TRY004 -- as for every other damage
    return key


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Writes the file under another name first, so that nobody ever reads half of it."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
    Path(file.name).replace(path)


def main() -> None:
    """Issues, and says what is new."""
    parser = argparse.ArgumentParser(prog="python -m meshkit.development_ca", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder for certificates and keys")
    parser.add_argument("--public-name", action="append", default=[], help="a DNS name or address of the edge")
    parser.add_argument("--renew", action="store_true", help="replace also what is still good, but for the authority")
    parser.add_argument("services", nargs="+", metavar="NAME", help="a service")
    options = parser.parse_args()
    try:
        issued = issue(options.out, subjects(options.services, options.public_name), renew=options.renew)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"{options.out}: {', '.join(issued) or 'nothing'} issued\n")


if __name__ == "__main__":
    main()
