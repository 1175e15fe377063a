"""CLIP gives what the reference gives (stored outputs of the reference, README of the goldens: 1e-4)."""

import numpy as np
import pytest
import torch
from PIL import Image

from opencodi.convert.clip import convert_clip_image, convert_clip_text, convert_clip_video
from opencodi.errors import ConfigurationError
from opencodi.media import Video
from opencodi.prompts import ClipImagePromptEncoder, ClipTextPromptEncoder, ClipVideoPromptEncoder
from opencodi.prompts.clip import clip_pixel_values
from tests.published import CLIP_TEMPORAL, CLIP_TEXT, CLIP_VISION, assert_close, cases, load, weights

CASES = cases("clip_small")


@pytest.fixture(scope="module")
def text() -> ClipTextPromptEncoder:
    net = ClipTextPromptEncoder(**CLIP_TEXT)
    return load(net, convert_clip_text(weights("clip_small"), net))


@pytest.fixture(scope="module")
def image() -> ClipImagePromptEncoder:
    net = ClipImagePromptEncoder(**CLIP_VISION)
    return load(net, convert_clip_image(weights("clip_small"), net))


@pytest.fixture(scope="module")
def video() -> ClipVideoPromptEncoder:
    net = ClipVideoPromptEncoder(**CLIP_TEMPORAL)
    return load(net, convert_clip_video(weights("clip_small"), net))


def test_texts_are_embedded_as_by_the_reference(text):
    assert_close(text(CASES["text.input_ids"]).tokens, CASES["text.context"])


def test_images_are_embedded_as_by_the_reference(image):
    assert_close(image(CASES["image.pixel_values"]).tokens, CASES["image.context"])


def test_clips_are_embedded_as_by_the_reference(image, video):
    pixel_values = CASES["video.pixel_values"].transpose(1, 2)
    assert_close(video.hidden_states(pixel_values, image), CASES["video.last_hidden_mean"])
    assert_close(video(pixel_values, image).tokens, CASES["video.context"])


def test_the_temporal_block_is_the_references(video):
    assert_close(video.temporal[0](CASES["temporal.in"]), CASES["temporal.out"])


def test_a_clip_of_one_frame_is_an_image(image, video):
    pixel_values = CASES["image.pixel_values"]
    assert_close(video(pixel_values.unsqueeze(2), image).tokens, CASES["image.context"])
    assert (
        video(pixel_values.unsqueeze(2).expand(-1, -1, 4, -1, -1), image).tokens - CASES["image.context"]
    ).abs().max() > 1e-2


def test_clips_know_the_order_of_their_frames(image, video):
    pixel_values = CASES["video.pixel_values"].transpose(1, 2)
    assert (video(pixel_values, image).tokens - video(pixel_values.flip(2), image).tokens).abs().max() > 1e-3


def test_pixels_are_prepared_as_by_the_reference():
    assert_close(clip_pixel_values(CASES["preproc.image_in"], 224), CASES["preproc.pixel_values"])


def test_the_centre_of_a_picture_is_seen_and_nothing_else(image):
    picture = Image.new("RGB", (100, 40), "white")
    picture.paste("red", (30, 0, 70, 40))
    (pixels,) = image.preprocess([picture])["pixel_values"]
    (red,) = image.preprocess([Image.new("RGB", (40, 40), "red")])["pixel_values"]
    assert_close(pixels, red)
    assert pixels.shape == (3, 32, 32)


def test_frames_come_from_the_middle_four_seconds_of_a_clip(image, video):
    frames = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 8, 8, 3)).copy()
    pixels = video.preprocess([Video(frames, fps=10)], image)["pixel_values"]
    shown = pixels[0, 0, :, 0, 0] * 0.26862954 * 255 + 0.48145466 * 255
    assert shown.round().tolist() == pytest.approx([30, 40, 50, 60], abs=1)
    short = video.preprocess([Video(frames[::50], fps=10)], image)["pixel_values"]
    assert torch.equal(short[:, :, 0], short[:, :, 1]) and not torch.equal(short[:, :, 0], short[:, :, 2])


def test_no_picture_and_no_clip_are_the_references_grey(image, video):
    grey = clip_pixel_values(torch.zeros(3, 8, 8), 32).unsqueeze(0)
    assert_close(image.unconditional(2).tokens, image(grey).tokens.expand(2, -1, -1))
    assert_close(
        video.unconditional(2, image).tokens,
        video(grey.unsqueeze(2).expand(-1, -1, 7, -1, -1), image).tokens.expand(2, -1, -1),
    )


def test_a_text_encoder_without_its_tokenizer_says_so():
    with pytest.raises(ConfigurationError, match="has no tokenizer"):
        ClipTextPromptEncoder(**CLIP_TEXT).encode(["a rooster"])
