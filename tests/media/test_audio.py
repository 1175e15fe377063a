import numpy as np
import pytest
import soundfile

from opencodi.errors import ArgumentError, DamagedFile, EmptyFile, OverLimit, WrongKind
from opencodi.media import Audio, Limits, read_audio, resample, to_mono, write_audio

from .samples import click, clip, cut, encode, onset, snr, tone


def stereo(rate: int = 44_100, seconds: float = 1.0) -> np.ndarray:
    """[num_samples, 2]: a low tone left, a high one right."""
    return np.stack([tone(seconds, rate, 440).samples, tone(seconds, rate, 1_000).samples], axis=1)


MIXED = (tone(1.0, 16_000, 440).samples + tone(1.0, 16_000, 1_000).samples) / 2


@pytest.mark.parametrize(("name", "at_least"), [("a.wav", 80.0), ("a.flac", 80.0), ("a.ogg", 25.0)])
def test_a_sound_comes_back_as_it_was_written(tmp_path, name, at_least):
    write_audio(tone(), tmp_path / name)
    audio = read_audio(tmp_path / name)
    assert (len(audio.samples), audio.sample_rate) == (16_000, 16_000)
    assert snr(audio.samples, tone().samples) > at_least


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_wav_of_any_depth_and_channels_becomes_16_khz_mono(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", stereo(), 44_100, subtype=subtype)
    audio = read_audio(tmp_path / "a.wav")
    assert (len(audio.samples), audio.sample_rate) == (16_000, 16_000)
    assert snr(audio.samples, MIXED) > (35 if subtype == "PCM_U8" else 60)


@pytest.mark.parametrize(
    ("name", "rate"), [("a.mp3", 44_100), ("a.m4a", 44_100), ("a.opus", 48_000), ("a.webm", 48_000)]
)
def test_compressed_stereo_becomes_16_khz_mono_without_delay(tmp_path, name, rate):
    encode(tmp_path / name, samples=stereo(rate), rate=rate)
    audio = read_audio(tmp_path / name)
    assert audio.sample_rate == 16_000
    assert abs(len(audio.samples) - 16_000) <= 160  # 10 ms
    assert snr(audio.samples, MIXED) > 15


def test_a_slow_rate_is_brought_up(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1.0, 8_000).samples, 8_000)
    audio = read_audio(tmp_path / "a.wav")
    assert len(audio.samples) == 16_000
    assert snr(audio.samples, tone().samples) > 60


@pytest.mark.parametrize("name", ["a.wav", "a.m4a"])
def test_the_own_rate_of_a_file_can_be_kept(tmp_path, name):
    encode(tmp_path / "a.m4a", samples=stereo(), rate=44_100)
    soundfile.write(tmp_path / "a.wav", stereo(), 44_100)
    audio = read_audio(tmp_path / name, sample_rate=None)
    assert (len(audio.samples), audio.sample_rate) == (44_100, 44_100)


def test_the_sound_track_of_a_clip_is_a_sound(tmp_path):
    encode(tmp_path / "a.mp4", clip(8), stereo(48_000), 48_000)
    assert snr(read_audio(tmp_path / "a.mp4").samples, MIXED) > 15


def test_surround_sound_is_mixed(tmp_path):
    encode(tmp_path / "a.m4a", samples=np.repeat(tone(1.0, 48_000, amplitude=0.1).samples[:, None], 6, axis=1))
    audio = read_audio(tmp_path / "a.m4a")
    assert np.corrcoef(audio.samples[480:15_520], tone().samples[480:15_520])[0, 1] > 0.99


def test_samples_beyond_one_are_clipped(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone().samples * 4, 16_000, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "a.wav").samples).max() == 1.0


@pytest.mark.parametrize("num_samples", [1, 10, 1_000])
def test_very_short_sounds_are_read(tmp_path, num_samples):
    write_audio(Audio(tone().samples[:num_samples], 16_000), tmp_path / "a.wav")
    assert len(read_audio(tmp_path / "a.wav").samples) == num_samples


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3", "a.m4a"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.97])
def test_a_truncated_sound_is_damaged(tmp_path, name, keep):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (48_000, 1)).astype(np.float32)
    path = tmp_path / name
    if name in ("a.wav", "a.flac", "a.ogg"):
        write_audio(Audio(noise[:, 0], 48_000), path)
    else:
        encode(path, samples=noise)
    with pytest.raises(DamagedFile, match=name):
        read_audio(cut(path, keep))


def test_samples_that_are_not_numbers_are_damage(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0, np.nan, 0], np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(DamagedFile, match="not numbers"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [1, 999, 3_000_000_000])
def test_an_absurd_rate_in_the_header_is_damage_and_costs_no_time(tmp_path, rate):
    write_audio(tone(0.1), tmp_path / "a.wav")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"a\.wav"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(ArgumentError, match="sample_rate"):
        resample(tone(0.1), rate)


def test_a_header_without_samples_is_empty(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), 16_000)
    with pytest.raises(EmptyFile, match="no sample"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a"])
def test_a_sound_longer_than_the_limit_is_refused(tmp_path, name):
    sound = tone(2.0, 48_000)
    if name in ("a.wav", "a.flac"):
        write_audio(sound, tmp_path / name)
    else:
        encode(tmp_path / name, samples=sound.samples[:, None])
    with pytest.raises(OverLimit, match=r"lasts 2\.\d s, the limit is 1\.5 s"):
        read_audio(tmp_path / name, Limits(max_seconds=1.5))


def test_a_silent_clip_has_no_sound(tmp_path):
    encode(tmp_path / "a.mp4", clip(4))
    with pytest.raises(WrongKind, match="no sound track"):
        read_audio(tmp_path / "a.mp4")


def test_a_live_wav_of_unknown_length_is_read_to_its_end(tmp_path):
    # Programs that write to a pipe leave the largest value where the lengths belong.
    write_audio(tone(), tmp_path / "a.wav")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav").samples) == 16_000


def test_writing_takes_an_audio_and_loud_samples_do_not_wrap_around(tmp_path):
    with pytest.raises(ArgumentError, match="ndarray"):
        write_audio(np.zeros(4, np.float32), tmp_path / "a.wav")
    loud = np.array([1, -1, 1, -1], np.float32)
    write_audio(Audio(loud, 16_000), tmp_path / "a.wav")
    assert np.abs(read_audio(tmp_path / "a.wav").samples - loud).max() < 1e-4


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_resampling_keeps_time_pitch_and_loudness(rate):
    found = resample(tone(1.0, rate), 16_000)
    assert len(found.samples) == 16_000
    assert snr(found.samples, tone().samples) > 60
    assert abs(onset(resample(click(1.0, 0.5, rate), 16_000)) - 0.5) < 1e-3


def test_resampling_down_removes_what_the_new_rate_cannot_hold():
    high = resample(tone(1.0, 48_000, hertz=12_000), 16_000)
    assert np.abs(high.samples[480:-480]).max() < 0.002


def test_resampling_a_square_wave_does_not_leave_the_range():
    square = Audio(np.sign(tone(1.0, 44_100).samples), 44_100)
    assert np.abs(resample(square, 16_000).samples).max() <= 1.0


def test_one_sample_survives_resampling_down():
    assert len(resample(Audio(np.ones(1, np.float32), 48_000), 8_000).samples) == 1


def test_mono_is_the_mean_of_the_channels():
    assert np.array_equal(to_mono(np.array([[1.0, 0.0], [0.5, -0.5]])), np.array([0.5, 0.0], np.float32))
    assert np.array_equal(to_mono(np.array([0.25, 0.5])), np.array([0.25, 0.5], np.float32))
