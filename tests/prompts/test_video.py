import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from opencodi.errors import ArgumentError
from opencodi.media import Video
from opencodi.prompts import VideoPromptEncoder


def clip(rng, num_frames=6) -> Video:
    return Video(rng.integers(0, 256, (num_frames, 32, 32, 3), dtype=np.uint8), fps=8)


def wake(encoder: VideoPromptEncoder) -> VideoPromptEncoder:
    """Give the temporal network an output, as training does."""
    torch.nn.init.normal_(encoder.temporal.proj_out.weight, std=0.5)
    return encoder


def test_a_still_video_is_embedded_like_its_image_even_after_training(make_image, make_video):
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    encoder = make_image()
    image = encoder.encode([Image.fromarray(frame)]).tokens
    for still in (Video(frame[None], fps=8), Video(np.stack([frame] * 9), fps=8)):
        torch.testing.assert_close(wake(make_video()).encode([still], encoder).tokens, image, atol=1e-5, rtol=0)


def test_the_order_of_frames_matters(make_image, make_video):
    video, encoder = clip(np.random.default_rng(0), 4), wake(make_video())
    forward, backward = encoder.encode([video, Video(video.frames[::-1].copy(), fps=8)], make_image()).tokens
    assert (forward - backward).abs().max() > 1e-3
    assert torch.allclose(forward.norm(dim=-1), torch.ones(1))


def test_frames_are_spread_over_the_whole_clip(make_image, make_video):
    frames = np.zeros((10, 32, 32, 3), np.uint8) + np.arange(10, dtype=np.uint8)[:, None, None, None]
    values = make_video().preprocess([Video(frames, fps=8)], make_image())["pixel_values"]
    assert values.shape == (1, 3, 4, 32, 32)
    shown = ((values[0, 0, :, 0, 0] + 1) * 127.5).round().int().tolist()
    assert shown == [0, 3, 6, 9]


def test_a_clip_means_the_same_alone_and_in_a_batch(make_image, make_video):
    encoder, image, rng = wake(make_video()), make_image(), np.random.default_rng(0)
    clips = [clip(rng), clip(rng, 3)]
    torch.testing.assert_close(encoder.encode(clips, image).tokens[1:], encoder.encode(clips[1:], image).tokens)


def test_a_saved_encoder_holds_the_temporal_network_alone_and_returns(make_image, make_video, tmp_path):
    encoder, image, video = wake(make_video()), make_image(), clip(np.random.default_rng(0))
    encoder.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    assert stored and all(name.startswith("temporal.") for name in stored)
    again = VideoPromptEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(again.encode([video], image).tokens, encoder.encode([video], image).tokens)


def test_what_is_read_beside_the_condition_is_the_mean_of_what_the_image_encoder_sees(make_image, make_video):
    encoder, image, video = wake(make_video()), make_image(), clip(np.random.default_rng(0), 4)
    condition, features = encoder.read([video], image)
    torch.testing.assert_close(condition.tokens, encoder.encode([video], image).tokens)
    frames = [Image.fromarray(frame) for frame in video.frames]
    torch.testing.assert_close(features[0], image.read(frames)[1].mean(0))


def test_without_the_image_encoder_it_says_what_to_give(make_video):
    with pytest.raises(ArgumentError, match="give the image prompt encoder"):
        make_video().encode([clip(np.random.default_rng(0))])


def test_the_frames_follow_the_embedding_of_a_clip_as_tokens_of_their_own(make_image, make_video):
    image, encoder = make_image(), make_video(frame_tokens=True)
    seen = clip(np.random.default_rng(0), num_frames=4)
    condition = encoder.encode([seen], image)
    assert condition.tokens.shape == (1, 5, 16) and condition.mask.all()
    first = image.encode([Image.fromarray(seen.frames[0])]).tokens[0, 0]
    torch.testing.assert_close(condition.tokens[0, 1], first)
