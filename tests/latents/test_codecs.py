import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from opencodi.errors import ArgumentError
from opencodi.latents import AudioAutoencoder, ImageAutoencoder, TextAutoencoder, Vocoder, build_tokenizer, codecs
from opencodi.latents.image import to_pixel_values, to_uint8
from opencodi.media import Audio, Video
from opencodi.modality import Modality

SMALL = {"block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 4, "patch_size": 2}
MEL = {"n_fft": 256, "win_length": 256, "hop_length": 64, "num_mel_bins": 16}
SECONDS = 1024 / 16000


@pytest.fixture(scope="module")
def components() -> dict[str, object]:
    torch.manual_seed(0)
    tokenizer = build_tokenizer(["a rooster", "a drum"], 280)
    return {
        "image_autoencoder": ImageAutoencoder(**SMALL, sample_size=16, sample_frames=3).eval(),
        "audio_autoencoder": AudioAutoencoder(**SMALL, **MEL, sample_seconds=SECONDS).eval(),
        "audio_vocoder": Vocoder(**MEL, dim=8, intermediate_dim=8, num_blocks=1).eval(),
        "text_autoencoder": TextAutoencoder(encoder_vocab_size=280, decoder_vocab_size=280).eval(),
        "text_tokenizer": tokenizer,
        "image_denoiser": None,
    }


@pytest.fixture
def media() -> dict[Modality, list]:
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (5, 12, 20, 3), dtype=np.uint8)
    samples = [random.uniform(-0.3, 0.3, length).astype(np.float32) for length in (700, 4000)]
    return {
        Modality.TEXT: ["a rooster", "a drum"],
        Modality.IMAGE: [Image.fromarray(frames[0]), Image.fromarray(frames[1])],
        Modality.VIDEO: [Video(frames, 8.0), Video(frames[:2], 24.0)],
        Modality.AUDIO: [Audio(samples[0], 16000), Audio(samples[1], 44100)],
    }


@torch.no_grad()
@pytest.mark.parametrize("modality", list(Modality))
def test_every_modality_goes_to_latents_of_the_announced_shape_and_back(modality, components, media):
    codec = codecs(components)[modality]
    latents = codec.encode(media[modality])
    assert latents.shape == codec.latent_shape(2)
    back = codec.decode(latents)
    assert [type(item) for item in back] == [type(item) for item in media[modality]]


def test_a_codec_is_built_exactly_when_its_parts_are_there(components):
    assert list(codecs(components)) == list(Modality)
    needs = {
        "image_autoencoder": {Modality.IMAGE, Modality.VIDEO},
        "audio_autoencoder": {Modality.AUDIO},
        "audio_vocoder": set(),
        "text_autoencoder": {Modality.TEXT},
        "text_tokenizer": {Modality.TEXT},
    }
    for name, lost in needs.items():
        assert set(Modality) - set(codecs({**components, name: None})) == lost
        assert set(Modality) - set(codecs({key: part for key, part in components.items() if key != name})) == lost


def test_latent_shapes_follow_the_asked_sizes_and_ignore_those_of_others(components):
    size = {"height": 32, "width": 16, "num_frames": 7, "seconds": 3 * SECONDS}
    shapes = {modality: codec.latent_shape(2, **size) for modality, codec in codecs(components).items()}
    assert shapes == {
        Modality.TEXT: (2, 256),
        Modality.IMAGE: (2, 4, 8, 4),
        Modality.VIDEO: (2, 4, 7, 8, 4),
        Modality.AUDIO: (2, 4, 12, 4),
    }
    nothing = dict.fromkeys(size)
    for codec in codecs(components).values():
        assert codec.latent_shape(1, **nothing) == codec.latent_shape(1) == codec.latent_shape(1, **codec.defaults)


@pytest.mark.parametrize(
    ("modality", "size", "named"),
    [
        ("image", {"height": 30}, "height"),
        ("video", {"width": -4}, "width"),
        ("video", {"num_frames": 0}, "num_frames"),
        ("audio", {"seconds": 0.0}, "seconds"),
    ],
)
def test_impossible_sizes_are_refused_by_name(modality, size, named, components):
    with pytest.raises(ArgumentError, match=f"^{named}:"):
        codecs(components)[Modality(modality)].latent_shape(1, **size)


@torch.no_grad()
def test_a_clip_is_its_frames_through_the_image_autoencoder(components):
    built = codecs(components)
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    clip = built[Modality.VIDEO].encode([Video(frames, 8.0)])
    singles = built[Modality.IMAGE].encode([Image.fromarray(frame) for frame in frames])
    torch.testing.assert_close(clip[0].movedim(1, 0), singles, atol=1e-5, rtol=0)
    (decoded,) = built[Modality.VIDEO].decode(clip)
    pictures = [np.asarray(picture) for picture in built[Modality.IMAGE].decode(singles)]
    assert np.abs(decoded.frames.astype(int) - np.stack(pictures)).max() <= 1
    assert decoded.fps == 8.0 and decoded.audio is None


@torch.no_grad()
def test_long_clips_are_decoded_in_pieces_without_a_seam(components):
    codec = codecs(components)[Modality.VIDEO]
    latents = torch.randn(2, 4, 20, 4, 4, generator=torch.Generator().manual_seed(0))
    together = codec.decode(latents)
    for clip, one in itertools.product(range(2), (0, 15, 19)):
        (alone,) = codec.decode(latents[clip : clip + 1, :, one : one + 1])
        assert np.abs(together[clip].frames[one].astype(int) - alone.frames[0]).max() <= 1


def test_every_pixel_value_survives_the_way_to_floats_and_back():
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    pixel_values = to_pixel_values(Image.fromarray(values))
    assert pixel_values.shape == (3, 16, 16)
    assert pixel_values.min() == -1 and pixel_values.max() == 1
    assert (to_uint8(pixel_values) == values).all()
    assert (to_uint8(pixel_values * 300) == np.where(values > 127, 255, 0)).all()


@torch.no_grad()
@pytest.mark.parametrize("vocoder", ["audio_vocoder", None])
def test_sounds_come_back_at_full_length_within_range(vocoder, components, media):
    codec = codecs({**components, "audio_vocoder": vocoder and components[vocoder]})[Modality.AUDIO]
    waveform = codec.waveform(media[Modality.AUDIO])
    assert waveform.shape == (2, 1024)
    assert waveform[0, 700:].abs().max() == 0  # padded with silence
    for seconds, samples in ((None, 1024), (2 * SECONDS, 2048)):
        for sound in codec.decode(codec.encode(media[Modality.AUDIO], seconds=seconds)):
            assert len(sound.samples) == samples and sound.sample_rate == 16000


@torch.no_grad()
def test_loudness_of_the_recording_does_not_reach_the_latents(components, media):
    codec = codecs(components)[Modality.AUDIO]
    loud = media[Modality.AUDIO][0]
    quiet = Audio(loud.samples * np.float32(0.05), loud.sample_rate)
    torch.testing.assert_close(codec.encode([loud]), codec.encode([quiet]), atol=1e-3, rtol=0)


@torch.no_grad()
def test_audio_statistics_normalise_latents_and_are_undone(components, media):
    codec = codecs(components)[Modality.AUDIO]
    autoencoder = codec.autoencoder
    latents = codec.encode(media[Modality.AUDIO])
    mel = autoencoder.decode(latents)
    before = dict(autoencoder.config)
    try:
        autoencoder.register_to_config(latents_mean=[1.0, 2, 3, 4], latents_std=[2.0] * 4, scaling_factor=0.5)
        normalised = codec.encode(media[Modality.AUDIO])
        shift = torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1)
        torch.testing.assert_close(normalised, (latents - shift) / 4)
        torch.testing.assert_close(autoencoder.decode(normalised), mel, atol=1e-4, rtol=1e-4)
    finally:
        autoencoder.register_to_config(**before)


@torch.no_grad()
def test_saved_autoencoders_are_the_loaded_ones(components, media, tmp_path):
    for modality, name in ((Modality.IMAGE, "image_autoencoder"), (Modality.AUDIO, "audio_autoencoder")):
        model = components[name]
        model.save_pretrained(tmp_path / name)
        loaded = type(model).from_pretrained(tmp_path / name, torch_dtype=torch.float32)
        expected = codecs(components)[modality].encode(media[modality])
        again = codecs({**components, name: loaded})[modality].encode(media[modality])
        torch.testing.assert_close(again, expected, atol=1e-6, rtol=1e-6)


def test_sampled_latents_depend_on_the_generator_only(components):
    mel = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) - 5
    pixels = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    for name, data in (("audio_autoencoder", mel), ("image_autoencoder", pixels)):
        seeds = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
        with torch.no_grad():
            drawn = [components[name].encode(data, generator=seed, sample=True) for seed in seeds]
        assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_published_audioldm_is_one_configuration():
    """On the meta device: 55.4 M parameters, 1024 x 64 mel to 8 x 256 x 16 (SPEC §4)."""
    with torch.device("meta"):
        model = AudioAutoencoder(
            hop_length=160,
            patch_size=1,
            latent_channels=8,
            block_out_channels=(128, 256, 512),
            layers_per_block=2,
            mid_block_add_attention=True,
            mel_mean=0.0,
            mel_std=1.0,
        )
        latents = model.encode(torch.zeros(1, 1, 1024, 64))
    assert latents.shape == (1, 8, 256, 16)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == 55.4
