"""What is said of files that were signed, changed, stripped, signed by others, or made to mislead."""

import io
import json
import shutil
import subprocess
import sys
import types

import c2pa
import pytest
from PIL import Image

from opencodi.errors import ArgumentError, DecoderCrash, MissingFile, OverLimit, SystemFailure
from opencodi.trust import Statement, Verdict, prepare, reading, sign, verify
from opencodi.trust.reading import Found
from opencodi.trust.verification import Watermark, judge

from .conftest import BESIDE, EMBEDDED, issue

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
CAPTURED = {
    "label": "c2pa.actions.v2",
    "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE}]},
}
"""What a camera states."""


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.flac", "words.txt"])
def test_own_files_are_recognised(signed, name):
    found = verify(signed / name)
    assert (found.verdict, found.exit_code, found.credentials.known_as) == (Verdict.GENERATED, 0, "own")
    assert found.credentials.where == ("sidecar" if name in BESIDE else "embedded")
    assert "Signed by this installation" in found.sentence and "OpenCoDi 0.1.0, model tiny" in found.sentence
    json.dumps(found.as_dict())


@pytest.mark.parametrize("name", [*EMBEDDED, *BESIDE])
def test_a_byte_that_changed_after_signing_is_found(plain, signed, tmp_path, name):
    content = bytearray((signed / name).read_bytes())
    # A byte of the picture, frame, sample or text: in RIFF the credentials come last
    content[len((plain / name).read_bytes()) - 20 if content[:4] == b"RIFF" else -20] ^= 1
    (tmp_path / name).write_bytes(content)
    beside = (signed / name).with_suffix(".c2pa") if name in BESIDE else None
    found = verify(tmp_path / name, sidecar=beside, watermark=False)
    assert (found.verdict, found.exit_code, found.credentials.integrity) == (Verdict.CHANGED, 4, "changed")
    assert "not the file that was signed" in found.sentence and found.credentials.known_as == "unknown"


def test_stripped_credentials_mean_that_nothing_can_be_told(signed, plain, tmp_path):
    Image.open(signed / "a.png").save(tmp_path / "saved-again.png")
    shutil.copy(signed / "words.txt", tmp_path)  # without its sidecar
    for path in (tmp_path / "saved-again.png", tmp_path / "words.txt", plain / "a.mp4"):
        found = verify(path)
        assert (found.verdict, found.exit_code, found.credentials) == (Verdict.CANNOT_TELL, 3, None)
        assert (
            found.sentence.startswith("Cannot tell: it has no credentials")
            and "does not make it real" in found.sentence
        )


def test_somebody_elses_certificate_is_unknown_until_its_authority_is_trusted(plain, tmp_path):
    certificate, key, authority = issue(tmp_path, "Mallory")
    path = shutil.copy(plain / "a.png", tmp_path / "a.png")
    sign(path, Statement("stickers"), prepare(certificate=certificate, private_key=key))
    found = verify(path)
    assert (found.verdict, found.exit_code) == (Verdict.UNKNOWN_SIGNER, 5)
    assert "signed by Mallory, whom nobody here knows" in found.sentence
    other = issue(tmp_path, "Other")[2]
    assert verify(path, trust=other).verdict == Verdict.UNKNOWN_SIGNER
    trusted = verify(path, trust=authority)
    assert (trusted.verdict, trusted.credentials.known_as) == (Verdict.GENERATED, "trusted")
    assert "Signed by Mallory, whose authority you trust" in trusted.sentence
    with pytest.raises(ArgumentError, match=r"a.png: holds no certificate"):
        verify(path, trust=plain / "a.png")


def test_the_name_of_this_installation_on_another_certificate_does_not_help(plain, credentials, tmp_path):
    certificate, key, _ = issue(tmp_path, credentials.identity.name)
    path = shutil.copy(plain / "a.png", tmp_path / "a.png")
    sign(path, credentials=prepare(certificate=certificate, private_key=key))
    assert verify(path).verdict == Verdict.UNKNOWN_SIGNER


def test_a_statement_that_was_rewritten_is_a_forgery(signed, tmp_path):
    content = (signed / "a.png").read_bytes()
    assert content.count(b'"name":"tiny"') == 1
    (tmp_path / "a.png").write_bytes(content.replace(b'"name":"tiny"', b'"name":"huge"'))
    found = verify(tmp_path / "a.png")
    assert found.verdict == Verdict.CHANGED and found.credentials.known_as == "unknown"
    assert "huge" not in found.sentence


def test_a_signature_of_another_key_is_a_forgery(plain, credentials, tmp_path):
    """As who has a certificate, which is in every signed file, but not its key."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    wrong = ec.generate_private_key(ec.SECP256R1())

    def forge(content: bytes) -> bytes:
        return b"".join(n.to_bytes(32, "big") for n in decode_dss_signature(wrong.sign(content, ec.ECDSA(SHA256()))))

    signer = c2pa.Signer.from_callback(forge, c2pa.C2paSigningAlg.ES256, credentials.identity.chain.decode())
    settings = {"verify": {"verify_after_sign": False}}
    made = {"claim_generator_info": [{"name": "OpenCoDi", "version": "0.1.0"}], "assertions": [CAPTURED]}
    builder = c2pa.Builder(json.dumps(made), context=c2pa.Context.from_dict(settings))
    forged = io.BytesIO()
    builder.sign(signer, "image/png", io.BytesIO((plain / "a.png").read_bytes()), forged)
    (tmp_path / "a.png").write_bytes(forged.getvalue())
    found = verify(tmp_path / "a.png")
    assert (found.verdict, found.credentials.integrity) == (Verdict.CHANGED, "broken")
    assert "damaged or forged (claimSignature.mismatch)" in found.sentence


def test_an_own_signature_without_a_statement_is_not_taken_for_one(plain, credentials, tmp_path):
    """A camera's program may sign, too; who signed is not how it was made."""
    path = shutil.copy(plain / "a.jpg", tmp_path / "a.jpg")
    credentials._write(path, [CAPTURED])
    found = verify(path)
    assert (found.verdict, found.exit_code) == (Verdict.SIGNED, 6)
    assert "handled it, not how it was made" in found.sentence


def test_a_sidecar_of_another_file_or_of_nonsense_is_said(signed, tmp_path):
    shutil.copy(signed / "words.c2pa", tmp_path / "other.c2pa")
    (tmp_path / "other.txt").write_text("a rooster on a bicycle, too")
    found = verify(tmp_path / "other.txt")
    assert found.verdict == Verdict.CHANGED and "its sidecar belongs to another file" in found.sentence
    for nonsense in (b"no credentials", (signed / "words.c2pa").read_bytes()[:900], bytes(5000)):
        (tmp_path / "other.c2pa").write_bytes(nonsense)
        found = verify(tmp_path / "other.txt")
        assert (found.verdict, found.credentials.integrity) == (Verdict.CHANGED, "broken")
    with pytest.raises(ArgumentError, match="is a sidecar; give the file"):
        verify(tmp_path / "other.c2pa")
    with pytest.raises(MissingFile):
        verify(signed / "words.txt", sidecar=tmp_path / "none.c2pa")


def test_credentials_on_another_machine_are_not_fetched(plain, credentials, tmp_path):
    """A file could make whoever checks it call any address."""
    builder = c2pa.Builder(json.dumps({"claim_generator_info": [{"name": "x"}], "assertions": [CAPTURED]}))
    builder.set_no_embed()
    builder.set_remote_url("http://127.0.0.1:9/manifest.c2pa")
    info = c2pa.C2paSignerInfo("es256", credentials.identity.chain, credentials.identity.key, None)
    remote = io.BytesIO()
    builder.sign(c2pa.Signer.from_info(info), "image/jpeg", io.BytesIO((plain / "a.jpg").read_bytes()), remote)
    (tmp_path / "a.jpg").write_bytes(remote.getvalue())
    found = verify(tmp_path / "a.jpg")
    assert found.verdict == Verdict.CANNOT_TELL and "on another machine and are not fetched" in found.sentence


def test_what_a_file_says_is_safe_to_print(plain, tmp_path):
    certificate, key, authority = issue(tmp_path, "Mal\x1b[2Jlory")
    credentials = prepare(certificate=certificate, private_key=key)
    path = shutil.copy(plain / "a.png", tmp_path / "a.png")
    sign(path, Statement("\x1b]0;own\x07" + "m" * 5000), credentials)
    said = verify(path, trust=authority).sentence
    assert said.isprintable() and len(said) < 800 and r"Mal\x1b[2Jlory" in said


def test_the_reader_runs_apart_with_limits(signed, monkeypatch, tmp_path):
    for program, error, says in (
        ("import os; os.abort()", DecoderCrash, "crashed the reader of credentials"),
        ("import time; time.sleep(60)", OverLimit, "took more than"),
        ("raise ModuleNotFoundError(\"No module named 'c2pa'\")", SystemFailure, "pip install c2pa-python"),
    ):
        (tmp_path / "reader.py").write_text(program)
        monkeypatch.setattr(reading, "_PROGRAM", tmp_path / "reader.py")
        monkeypatch.setattr(reading, "TIMEOUT_SECONDS", 2.0)
        with pytest.raises(error, match=says):
            verify(signed / "a.png")
    (tmp_path / "reader.py").write_text("print('x' * 3_000_000)")
    monkeypatch.setattr(reading, "TIMEOUT_SECONDS", 30.0)
    assert verify(signed / "a.png").credentials.integrity == "broken"
    (tmp_path / "reader.py").write_text("import os; os.environ['SECRET']")
    monkeypatch.setenv("SECRET", "a key")
    with pytest.raises(SystemFailure, match="KeyError"):
        verify(signed / "a.png")


def test_the_main_process_loads_no_parser(signed):
    program = "import sys; from opencodi.trust import verify; verify(sys.argv[1]); sys.exit('c2pa' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program, str(signed / "a.png")]).returncode == 0


def test_a_watermark_is_looked_for_where_there_is_a_detector(plain, monkeypatch):
    assert not verify(plain / "a.png", watermark=False).watermark.checked
    found = types.SimpleNamespace(found=True, p_value=1e-9, modality="image")
    detector = types.ModuleType("opencodi.trust.watermark")
    detector.__spec__ = types.SimpleNamespace(name="opencodi.trust.watermark")
    detector.detect = lambda path: found if path.suffix == ".png" else None
    monkeypatch.setitem(sys.modules, "opencodi.trust.watermark", detector)
    marked = verify(plain / "a.png")
    assert (marked.verdict, marked.exit_code) == (Verdict.GENERATED, 0)
    assert (
        "watermark of a key of yours (p = 1e-09)" in marked.sentence and "nothing says who made it" in marked.sentence
    )
    assert verify(plain / "a.wav").watermark.reason == "there is no detector for files of this kind"


def test_a_watermark_counts_where_credentials_say_nothing():
    mark = Watermark(True, True, 1e-9, "image")
    unknown, changed = Found("intact", "embedded", {"name": "x"}), Found("changed", "embedded")
    assert judge(unknown, mark)[0] == Verdict.GENERATED
    verdict, sentence = judge(changed, mark)
    assert verdict == Verdict.CHANGED and "watermark of a key of yours" in sentence
    none = judge(None, Watermark(True))
    assert none[0] == Verdict.CANNOT_TELL and "no watermark was found" in none[1]


def test_no_verdict_claims_that_a_file_is_real():
    states = [
        ("intact", "own"),
        ("intact", "trusted"),
        ("intact", "unknown"),
        ("changed", "unknown"),
        ("broken", "unknown"),
    ]
    for integrity, known_as in states:
        for generated in (True, False):
            _, said = judge(
                Found(integrity, "embedded", {"name": "x"}, known_as, generated=generated), Watermark(False)
            )
            assert not {"real", "genuine", "authentic", "human"} & set(said.lower().replace(".", "").split())
