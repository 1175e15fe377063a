import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from opencodi.errors import ConfigurationError
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
    image = make_image().encode([Image.fromarray(frame)]).tokens
    for still in (Video(frame[None], fps=8), Video(np.stack([frame] * 9), fps=8)):
        torch.testing.assert_close(wake(make_video()).encode([still]).tokens, image, atol=1e-5, rtol=0)


def test_the_order_of_frames_matters(make_video):
    video, encoder = clip(np.random.default_rng(0), 4), wake(make_video())
    forward, backward = encoder.encode([video, Video(video.frames[::-1].copy(), fps=8)]).tokens
    assert (forward - backward).abs().max() > 1e-3
    assert torch.allclose(forward.norm(dim=-1), torch.ones(1))


def test_frames_are_spread_over_the_whole_clip(make_video):
    frames = np.zeros((10, 32, 32, 3), np.uint8) + np.arange(10, dtype=np.uint8)[:, None, None, None]
    values = make_video().preprocess([Video(frames, fps=8)])["pixel_values"]
    assert values.shape == (1, 3, 4, 32, 32)
    shown = ((values[0, 0, :, 0, 0] + 1) * 127.5).round().int().tolist()
    assert shown == [0, 3, 6, 9]


def test_a_clip_means_the_same_alone_and_in_a_batch(make_video):
    encoder, rng = wake(make_video()), np.random.default_rng(0)
    clips = [clip(rng), clip(rng, 3)]
    torch.testing.assert_close(encoder.encode(clips).tokens[1:], encoder.encode(clips[1:]).tokens)


def test_a_saved_encoder_returns(make_video, tmp_path):
    encoder, video = wake(make_video()), clip(np.random.default_rng(0))
    encoder.save_pretrained(tmp_path)
    again = VideoPromptEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(again.encode([video]).tokens, encoder.encode([video]).tokens)


def test_the_image_network_is_stored_once_beside_its_image_encoder(make_image, make_video, tmp_path):
    encoder, video = wake(make_video()), clip(np.random.default_rng(0))
    image = make_image()
    image.load_state_dict(encoder.image.state_dict())
    image.save_pretrained(tmp_path / "image_prompt_encoder")
    encoder.save_pretrained(tmp_path / "video_prompt_encoder")
    stored = load_file(tmp_path / "video_prompt_encoder" / "diffusion_pytorch_model.safetensors")
    assert stored and not any(name.startswith("image.") for name in stored)
    again, info = VideoPromptEncoder.from_pretrained(tmp_path / "video_prompt_encoder", output_loading_info=True)
    assert not info["missing_keys"]
    torch.testing.assert_close(again.encode([video]).tokens, encoder.encode([video]).tokens)

    (tmp_path / "image_prompt_encoder").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="image_prompt_encoder, which is missing"):
        VideoPromptEncoder.from_pretrained(tmp_path / "video_prompt_encoder")


def test_an_image_network_of_its_own_is_stored_with_the_encoder(make_image, make_video, tmp_path):
    encoder, image = wake(make_video()), make_image()
    torch.nn.init.normal_(image.projection.weight)  # trained further since
    image.save_pretrained(tmp_path / "image_prompt_encoder")
    encoder.save_pretrained(tmp_path / "video_prompt_encoder")
    again = VideoPromptEncoder.from_pretrained(tmp_path / "video_prompt_encoder")
    assert torch.equal(again.image.projection.weight, encoder.image.projection.weight)
