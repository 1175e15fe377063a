"""A server that marks what it makes."""

from opencodi.trust.watermark import detect

from .serving import QUICK, serving


def test_a_server_marks_its_results_and_says_so(pipe, server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENCODI_CONFIG", str(tmp_path / "config"))
    ask = {"text": "a rooster", "outputs": "text,audio", "seed": 3, **QUICK}
    plain = server.make(**ask)
    assert plain["watermark"] == {"written": False, "modalities": []}
    with serving(pipe, watermark=True) as marking:
        assert (tmp_path / "config" / "watermark.key").stat().st_mode & 0o777 == 0o600
        marked = marking.make(**ask)
        (tmp_path / "marked.wav").write_bytes(marking.fetch(marked["results"][1]))
    assert marked["watermark"] == {"written": True, "modalities": ["audio"]}
    assert marked["results"][0]["text"] == plain["results"][0]["text"]
    (tmp_path / "plain.wav").write_bytes(server.fetch(plain["results"][1]))
    assert detect(tmp_path / "marked.wav").found and not detect(tmp_path / "plain.wav").found
