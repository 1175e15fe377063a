"""One real file of every kind, unsigned and signed, and certificates of somebody else."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest

from opencodi.export.encode import encode
from opencodi.export.targets import FileRule
from opencodi.media import Audio, Video, write_image, write_video
from opencodi.server.sounds import write_sound
from opencodi.trust import Statement, prepare
from opencodi.trust.signing import digest

from .. import tiny

STATEMENT = Statement("tiny", "0123456789abcdef", 7, {"steps": 2}, [digest("text", "a rooster", "salt")])
EMBEDDED = (
    "a.png",
    "a.jpg",
    "a.webp",
    "a.gif",
    "a.wav",
    "a.flac",
    "a.mp3",
    "a.m4a",
    "a.mp4",
    "moving.apng",
    "moving.webp",
)
BESIDE = ("words.txt", "sound.opus", "sound2.aac", "clip.webm")


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Path:
    """Files that nobody has signed."""
    folder = tmp_path_factory.mktemp("plain")
    media = tiny.media()
    random = np.random.default_rng(0)
    tone = Audio(np.sin(np.arange(8000) / 9).astype(np.float32) / 2, 16000)
    clip = Video(random.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8), 8.0, tone)
    for ending in ("png", "jpg", "webp", "gif"):
        write_image(media["image"], folder / f"a.{ending}")
    for name in ("a.wav", "a.flac", "a.mp3", "sound.opus", "sound2.aac"):
        write_sound(tone, folder / name)
    write_video(clip, folder / "a.mp4")
    write_video(clip, folder / "moving.webp")
    rgba = np.concatenate([clip.frames, np.full_like(clip.frames[..., :1], 128)], axis=-1)
    for kind, ending in (("png", "apng"), ("webm", "webm")):
        name = "moving.apng" if kind == "png" else f"clip.{ending}"
        (folder / name).write_bytes(encode(rgba, 8.0, FileRule(kind, 32, 10**6, max_seconds=3, max_fps=30)))
    with av.open(folder / "a.m4a", "w", format="ipod") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone.samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    (folder / "words.txt").write_text("a rooster on a bicycle")
    return folder


@pytest.fixture(scope="session")
def credentials(_own_config):
    """Those of this installation."""
    return prepare()


@pytest.fixture(scope="session")
def signed(plain, credentials, tmp_path_factory) -> Path:
    """The same files, signed."""
    folder = tmp_path_factory.mktemp("signed")
    for path in plain.iterdir():
        shutil.copy(path, folder)
        credentials.sign(folder / path.name, STATEMENT)
    return folder


def issue(
    folder: Path, name: str = "Somebody", key=None, self_signed: bool = False, **changes
) -> tuple[Path, Path, Path]:
    """Files of a certificate, its key and its authority.

    Args:
        key: of the signer; a new one on P-256 by default.
        changes: ``purposes``: object identifiers; ``days``: from when to when it is valid, counted from now.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.x509.oid import NameOID

    from opencodi.trust.identity import _NO_USAGE

    authority = ec.generate_private_key(ec.SECP256R1())
    key = key or ec.generate_private_key(ec.SECP256R1())
    first, last = changes.get("days", (-1, 30))
    made = []
    for common, public, usage, is_authority in (
        (f"{name}'s authority", authority, "key_cert_sign", True),
        (name, key, "digital_signature", False),
    ):
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(made[0].subject if made and not self_signed else subject)
            .public_key(public.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) + timedelta(days=first))
            .not_valid_after(datetime.now(UTC) + timedelta(days=last))
            .add_extension(x509.BasicConstraints(is_authority, None), True)
            .add_extension(x509.KeyUsage(**_NO_USAGE | {usage: True}), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False)
        )
        if not is_authority:
            purposes = changes.get("purposes", ("1.3.6.1.5.5.7.3.4",))
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([x509.ObjectIdentifier(each) for each in purposes]), False
            )
        signer = key if self_signed and not is_authority else authority
        made.append(builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()))
    encoding = serialization.Encoding.PEM
    paths = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}-authority.pem"
    paths[0].write_bytes(made[1].public_bytes(encoding))
    form, encryption = serialization.PrivateFormat.PKCS8, changes.get("encryption", serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(encoding, form, encryption))
    paths[1].chmod(0o600)
    paths[2].write_bytes(made[0].public_bytes(encoding))
    return paths
