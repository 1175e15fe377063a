"""A model whose image autoencoder has four channels makes pictures and clips with transparency, and its files keep it."""

import numpy as np
import pytest
import torch
from PIL import Image

from opencodi import AnyToAnyPipeline, Video
from opencodi.errors import ArgumentError
from opencodi.latents import ImageAutoencoder, TransparentImageCodec, image_codec
from opencodi.media import read_video, write_image, write_video

from . import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> AnyToAnyPipeline:
    pipe = tiny.pipeline()
    autoencoder = ImageAutoencoder(**tiny.AUTOENCODER, sample_size=16, sample_frames=3, image_channels=4)
    pipe.register_modules(image_autoencoder=tiny.randomise(autoencoder, 6))
    folder = tmp_path_factory.mktemp("transparent")
    pipe.save_pretrained(folder)
    loaded = AnyToAnyPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_pictures_and_clips_come_with_alpha_and_their_files_keep_it(model, tmp_path):
    made = model(text="a rooster", outputs=["image", "video"], num_inference_steps=2, generator=tiny.seeded(1))
    picture, clip = made.image[0], made.video[0]
    assert picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] < 255
    assert clip.frames.shape[-1] == 3 and clip.alpha.shape == clip.frames.shape[:3]
    written = made.save(tmp_path)
    kept = next(path for path in written if path.suffix == ".png")
    with Image.open(kept) as again:
        assert again.mode == "RGBA" and np.array_equal(np.asarray(again), np.asarray(picture))


def test_a_transparent_picture_can_be_given_and_is_seen_over_white(model):
    picture = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    picture.paste((200, 30, 30, 255), (4, 4, 12, 12))
    white = Image.new("RGB", (16, 16), "white")
    white.paste(picture, mask=picture)
    options = {"outputs": "text", "num_inference_steps": 1}
    made = [model(image=[each], generator=tiny.seeded(1), **options).text for each in (picture, white)]
    assert made[0] == made[1]


def test_the_codec_keeps_the_alpha_of_a_picture_and_decodes_arrays_with_it(model):
    codec = image_codec(model.image_autoencoder)
    assert isinstance(codec, TransparentImageCodec)
    arrays = codec.decode_arrays(torch.zeros(codec.latent_shape(1)))
    assert arrays.shape == (1, 16, 16, 4) and arrays.min() >= 0 and arrays.max() <= 1


@pytest.fixture
def clip() -> Video:
    frames = np.zeros((3, 16, 16, 4), np.uint8)
    frames[..., 0], frames[:, 4:12, 4:12, 3] = 200, 255
    frames[1, 4:8, 4:12, 3] = 128
    return Video.from_rgba(frames, 8)


@pytest.mark.parametrize("suffix", [".webp", ".apng"])
def test_webp_and_apng_keep_what_is_transparent(clip, suffix, tmp_path):
    write_video(clip, tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as file:
        assert file.n_frames == 3
        file.seek(1)
        frame = np.asarray(file.convert("RGBA")).astype(int)
    assert np.abs(frame[..., 3] - clip.alpha[1]).max() <= 4
    seen = frame[6, 6, :3]
    assert np.abs(seen - [200, 0, 0]).max() <= 12


def test_mp4_shows_it_over_white(clip, tmp_path):
    write_video(clip, tmp_path / "a.mp4")
    frames = read_video(tmp_path / "a.mp4").frames.astype(int)
    assert frames[0, 0, 0].min() > 235 and abs(frames[0, 8, 8, 0] - 200) < 40


def test_a_solid_clip_has_no_alpha_and_a_wrong_one_is_refused():
    solid = Video.from_rgba(np.full((2, 4, 4, 4), 255, np.uint8), 8)
    assert solid.alpha is None and solid.rgba.shape == (2, 4, 4, 4)
    with pytest.raises(ArgumentError, match=r"Video\.alpha: must be \[2, 4, 4\]"):
        Video(solid.frames, 8, alpha=np.zeros((1, 4, 4), np.uint8))


def test_jpeg_lays_a_transparent_picture_over_white(tmp_path):
    write_image(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as file:
        assert file.mode == "RGB" and np.asarray(file).min() > 250
