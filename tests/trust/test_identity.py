"""The key that signs: made once, kept by its owner alone, never shown."""

import logging
import os
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from opencodi.errors import ArgumentError, ConfigurationError
from opencodi.trust import identity, prepare
from opencodi.trust.identity import given_identity, known_authorities, own_identity

from .conftest import issue


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A user who has never run it."""
    monkeypatch.setenv("OPENCODI_CONFIG", str(tmp_path / "home" / "config"))
    return tmp_path / "home" / "config"


def secret_lines(pem: bytes) -> list[str]:
    """Lines of a private key that must appear nowhere else."""
    return pem.decode().split("PRIVATE KEY-----")[1].split("-----END")[0].split()


def test_the_first_use_makes_a_key_that_only_its_owner_may_read(config):
    assert known_authorities() == b"" and not config.exists()  # looking makes nothing
    before = os.umask(0)
    try:
        made = own_identity()
    finally:
        os.umask(before)
    (file,) = config.iterdir()
    assert (file.name, file.stat().st_mode & 0o777, config.stat().st_mode & 0o777) == ("signing.pem", 0o600, 0o700)
    assert own_identity() == made and made.algorithm == "es256"
    assert known_authorities() == made.authorities and b"PRIVATE" not in made.chain + made.authorities
    assert os.uname().nodename not in made.name and os.environ.get("USER", "nobody") not in made.name


def test_processes_that_begin_at_once_get_the_same_key(config):
    program = (
        "import sys; from opencodi.trust.identity import own_identity; print('ready', flush=True); sys.stdin.read(1);"
        "print(own_identity().fingerprint)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.close()
    assert {process.stdout.read().strip() for process in started} == {own_identity().fingerprint}
    assert [process.wait() for process in started] == [0, 0]
    assert os.listdir(config) == ["signing.pem"]


def test_nothing_shows_the_key(config, caplog):
    caplog.set_level(logging.DEBUG)
    credentials = prepare()
    secret = secret_lines((config / "signing.pem").read_bytes())
    shown = repr(credentials) + str(credentials) + str(vars(credentials)) + caplog.text + str(credentials.identity)
    assert len(secret) > 2 and not any(line in shown for line in secret)


def test_a_key_that_others_may_read_is_not_used(config):
    own_identity()
    (config / "signing.pem").chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read; run chmod 600"):
        own_identity()
    refused = prepare()  # the work goes on without credentials, and says so
    assert refused.identity is None and "chmod 600" in refused.reason


def test_a_damaged_key_is_named_and_none_of_it_is_quoted(config):
    own_identity()
    content = (config / "signing.pem").read_text()
    secret = secret_lines(content.encode())
    (config / "signing.pem").write_text(content.replace(secret[1], secret[1][::-1]))
    with pytest.raises(ConfigurationError, match="holds no private key") as refused:
        own_identity()
    assert secret[0] not in str(refused.value) and refused.value.__cause__.__cause__ is None


def test_a_folder_that_cannot_be_written_is_said_in_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OPENCODI_CONFIG", str(tmp_path / "file"))
    assert "signing.pem: the secret key cannot be kept there" in prepare().reason


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"),
        (lambda: rsa.generate_private_key(65537, 2048), "ps256"),
        (ed25519.Ed25519PrivateKey.generate, "ed25519"),
    ],
)
def test_own_certificates_sign_with_every_kind_of_key(tmp_path, key, algorithm):
    certificate, private, _ = issue(tmp_path, key=key())
    credentials = prepare(certificate=certificate, private_key=private)
    assert (credentials.identity.name, credentials.identity.algorithm) == ("Somebody", algorithm)


def test_files_that_cannot_sign_are_refused_before_any_work(tmp_path, monkeypatch, plain):
    certificate, key, authority = issue(tmp_path)
    other_key = issue(tmp_path, "Other")[1]
    stale = issue(tmp_path, "Stale", days=(-30, -1))
    selfish = issue(tmp_path, "Selfish", self_signed=True)
    purpose = issue(tmp_path, "Purpose", purposes=("1.3.6.1.5.5.7.3.1",))  # a web server's
    curve = issue(tmp_path, "Curve", ec.generate_private_key(ec.SECP256K1()))
    locked = issue(tmp_path, "Locked", encryption=BestAvailableEncryption(b"open"))
    for given, says in {
        (certificate, None): "--certificate: needs --private-key",
        (None, key): "--private-key: needs --certificate",
        (tmp_path / "no.pem", key): "no.pem: cannot be read",
        (plain / "a.png", key): "a.png: holds no certificate in PEM",
        (certificate, authority): "authority.pem: holds no private key",
        (certificate, other_key): "Other.key: is not the private key of the first certificate",
        stale[:2]: "Stale.pem: the certificate is valid from",
        selfish[:2]: "Selfish.pem: is self-signed",
        purpose[:2]: "C2PA does not take it",
        curve[:2]: "Curve.key: C2PA signs with",
        locked[:2]: "OPENCODI_PRIVATE_KEY_PASSPHRASE",
    }.items():
        with pytest.raises(ArgumentError) as refused:
            prepare(certificate=given[0], private_key=given[1])
        assert says in str(refused.value) and "\n" not in str(refused.value)
    monkeypatch.setenv("OPENCODI_PRIVATE_KEY_PASSPHRASE", "open")
    assert prepare(certificate=locked[0], private_key=locked[1]).identity.name == "Locked"
    monkeypatch.setenv("OPENCODI_PRIVATE_KEY_PASSPHRASE", "wrong")
    with pytest.raises(ArgumentError, match="is the passphrase right"):
        given_identity(*locked[:2])


def test_the_environment_names_a_certificate(tmp_path, monkeypatch, caplog):
    certificate, key, authority = issue(tmp_path)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(certificate.read_bytes() + authority.read_bytes())
    monkeypatch.setenv(identity.CERTIFICATE, str(chain))
    monkeypatch.setenv(identity.PRIVATE_KEY, str(key))
    key.chmod(0o644)
    credentials = prepare()
    assert credentials.identity.name == "Somebody" and "chmod 600 is safer" in caplog.text
    assert credentials.identity.chain == certificate.read_bytes()  # a root has no place in credentials
    assert authority.read_bytes() in known_authorities()


def test_credentials_that_are_switched_off_read_nothing(config):
    off = prepare(False)
    assert off.identity is None and not config.exists()
    with pytest.raises(ArgumentError, match="--no-credentials"):
        prepare(False, "a", "b")
