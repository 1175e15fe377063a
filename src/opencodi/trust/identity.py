"""Who signs: the user's certificate, or one that is made on first use and stays on this machine."""

import logging
import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, ConfigurationError
from .keys import config_folder, private_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

log = logging.getLogger(__name__)

CERTIFICATE = "OPENCODI_CERTIFICATE"
PRIVATE_KEY = "OPENCODI_PRIVATE_KEY"
PASSPHRASE = "OPENCODI_PRIVATE_KEY_PASSPHRASE"
OWN_FILE = "signing.pem"
YEARS = 10
"""How long a certificate made here is valid. Without a time stamp, credentials are valid no longer than their certificate."""
_MAX_PEM = 2**20
# What a certificate may be used for: signing C2PA claims, and e-mail protection, which older C2PA readers ask for.
_PURPOSES = ("1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.4")
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key.

    Attributes:
        name: the common name of its owner.
        fingerprint: SHA-256 of the certificate, in hexadecimal.
        algorithm: of its signatures, in C2PA's words, such as ``es256``.
        chain: PEM that goes into credentials: the certificate, then those above it except a root.
        authorities: PEM of the certificates above it that are known; credentials signed under them are recognised.
        key: PEM (PKCS #8), unencrypted; never shown, logged or written.
    """

    name: str
    fingerprint: str
    algorithm: str
    chain: bytes = field(repr=False)
    authorities: bytes = field(repr=False)
    key: bytes = field(repr=False)


def own_identity() -> Identity:
    """The identity made on this machine; it is made now if there is none.

    Two processes that make it at once get the same: the file appears whole, and only the first one stays.

    Raises:
        ConfigurationError: if the file cannot be used, others may read it, or its certificate has expired.
        SystemFailure, MediaError: if the system refuses to keep it.
    """
    path = config_folder() / OWN_FILE
    content = private_file(path, _new_identity)
    if _others_may_read(path):
        raise ConfigurationError(f"{path}: holds a private key that others may read; run chmod 600 on it")
    try:
        return _identity(content, content, path, path)
    except ArgumentError as error:
        raise ConfigurationError(f"{error}; delete the file to get a new one") from error


def given_identity(certificate: str | Path | None, private_key: str | Path | None) -> Identity | None:
    """The identity in the user's own files, or in those that the environment names; None if there are none.

    Args:
        certificate: PEM with the certificate first, then those above it; None: ``$OPENCODI_CERTIFICATE``.
        private_key: PEM; None: ``$OPENCODI_PRIVATE_KEY``. Its passphrase is ``$OPENCODI_PRIVATE_KEY_PASSPHRASE``.

    Raises:
        ArgumentError: if only one of both is given, or they cannot be used; the message names the file and no content of it.
    """
    certificate = certificate or os.environ.get(CERTIFICATE)
    private_key = private_key or os.environ.get(PRIVATE_KEY)
    if certificate is None and private_key is None:
        return None
    if not certificate or not private_key:
        given, lacks = ("--certificate", "--private-key") if certificate else ("--private-key", "--certificate")
        raise ArgumentError(f"{given}: needs {lacks}, too; give both files")
    certificate, private_key = Path(certificate), Path(private_key)
    if _others_may_read(private_key):
        log.warning("%s: this private key may be read by others on this machine; chmod 600 is safer", private_key)
    return _identity(_read(certificate), _read(private_key), certificate, private_key)


def known_authorities() -> bytes:
    """PEM of the authorities whose credentials count as signed here. Makes nothing, and reads no private key.

    Raises:
        ArgumentError: if a file of certificates cannot be read.
    """
    found = b""
    own = config_folder() / OWN_FILE
    if own.is_file():
        found += _pem(_certificates(_read(own), own)[1:])
    if os.environ.get(CERTIFICATE):
        given = Path(os.environ[CERTIFICATE])
        found += _pem(_certificates(_read(given), given)[1:])
    return found


def read_authorities(path: str | Path) -> bytes:
    """PEM of all certificates in a file.

    Raises:
        ArgumentError: if it holds none.
    """
    return _pem(_certificates(_read(Path(path)), Path(path)))


def _identity(certificates: bytes, key: bytes, certificate_path: Path, key_path: Path) -> Identity:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    leaf, *above = _certificates(certificates, certificate_path)
    private = _private_key(key, key_path)
    encoding, form = serialization.Encoding, serialization.PublicFormat.SubjectPublicKeyInfo
    if leaf.public_key().public_bytes(encoding.DER, form) != private.public_key().public_bytes(encoding.DER, form):
        raise ArgumentError(f"{key_path}: is not the private key of the first certificate in {certificate_path}")
    if leaf.issuer == leaf.subject:
        raise ArgumentError(
            f"{certificate_path}: is self-signed, which C2PA refuses; give one that an authority issued"
        )
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        days = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        raise ArgumentError(f"{certificate_path}: the certificate is valid from {days} only")
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME) or list(leaf.subject)
    return Identity(
        name=str(names[0].value) if names else "no name",
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        algorithm=_algorithm(private, key_path),
        chain=_pem([leaf, *(each for each in above if each.issuer != each.subject)]),
        authorities=_pem(above),
        key=private.private_bytes(encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _certificates(content: bytes, path: Path) -> list["Certificate"]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ArgumentError(f"{path}: holds no certificate in PEM (-----BEGIN CERTIFICATE-----)") from error


def _private_key(content: bytes, path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    passphrase = os.environ.get(PASSPHRASE)
    try:
        return load_pem_private_key(content, passphrase.encode() if passphrase and b"ENCRYPTED" in content else None)
    except TypeError:  # encrypted, and no passphrase was given
        raise ArgumentError(f"{path}: is encrypted; give its passphrase in {PASSPHRASE}") from None
    except (ValueError, UnsupportedAlgorithm):  # said without a cause: it might quote the file
        hint = "; is the passphrase right?" if passphrase else ""
        raise ArgumentError(f"{path}: holds no private key in PEM that can be read{hint}") from None


def _algorithm(private: Any, path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES:
        return _CURVES[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise ArgumentError(
        f"{path}: C2PA signs with keys on the curves P-256, P-384 and P-521, Ed25519 and RSA; give one of them"
    )


def _new_identity() -> bytes:
    """PEM of a private key, its certificate, and that of the authority that issued it.

    C2PA takes no self-signed certificates. The authority signs this one certificate, then its key is forgotten, so nobody
    can ever issue another in its name.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, private = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    tag = secrets.token_hex(4)  # names neither the user nor the machine
    names = {who: _name(f"OpenCoDi local {who} {tag}") for who in ("authority", "signer")}
    now = datetime.now(UTC).replace(microsecond=0)

    def certificate(who: str, key: Any, usage: dict[str, bool], is_authority: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(names[who])
            .issuer_name(names["authority"])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))  # clocks differ
            .not_valid_after(now + timedelta(days=365 * YEARS + is_authority))
            .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
            .add_extension(x509.KeyUsage(**_NO_USAGE | usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    root = certificate("authority", authority, {"key_cert_sign": True, "crl_sign": True}, True)
    purposes = x509.ExtendedKeyUsage([x509.ObjectIdentifier(each) for each in _PURPOSES])
    issued = (
        certificate("signer", private, {"digital_signature": True}, False)
        .add_extension(purposes, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    key = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key + _pem([each.sign(authority, hashes.SHA256()) for each in (issued, root)])


_NO_USAGE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


def _name(common: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "OpenCoDi user, self-made certificate"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _pem(certificates: list["Certificate"]) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def _others_may_read(path: Path) -> bool:
    try:
        return os.name != "nt" and path.is_file() and bool(path.stat().st_mode & 0o077)
    except OSError:
        return False  # reading it says what is wrong


def _read(path: Path) -> bytes:
    try:
        if path.is_file() and path.stat().st_size > _MAX_PEM:
            raise ArgumentError(f"{path}: is too large for a file of certificates or a key; give another")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        reason = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else "no such file"
        raise ArgumentError(f"{path}: cannot be read ({reason}); give a file in PEM") from error
