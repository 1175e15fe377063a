"""A whole model whose prompts have several tokens: words, regions and frames reach every denoiser, alone and mixed."""

import pytest
import torch

from opencodi import AnyToAnyPipeline
from opencodi.prompts import ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder

from . import tiny

VISION = {"layout": [[3, 2, 1, 8], [3, 2, 2, 16]], "stem_channels": 8, "head_channels": 32, "classes": 10}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> AnyToAnyPipeline:
    text = tiny.text_prompt_encoder()
    worded = TextPromptEncoder(**{**text.config, "word_tokens": 6})
    worded.tokenizer = text.tokenizer
    tower = {**tiny.TOWER, "patch_size": 1, "block_out_channels": (8,), "layers_per_block": (1,)}
    image = ImagePromptEncoder(sample_size=16, vision=VISION, **tower)
    video = VideoPromptEncoder.for_image_encoder(
        image, num_frames=3, temporal_width=8, temporal_layers=1, frame_tokens=True
    )
    pipe = tiny.pipeline(
        text_prompt_encoder=tiny.randomise(worded, 1),
        image_prompt_encoder=tiny.randomise(image, 2),
        video_prompt_encoder=tiny.randomise(video, 3),
    )
    folder = tmp_path_factory.mktemp("several")
    pipe.save_pretrained(folder)
    loaded = AnyToAnyPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def latents(model: AnyToAnyPipeline, **call) -> torch.Tensor:
    return tiny.latents(model, **{"guidance_scale": 2.0, **call})["image"]


def test_every_input_alone_and_all_mixed_make_every_output(model):
    given = tiny.media()
    for inputs in (*({name: value} for name, value in given.items()), given):
        made = tiny.latents(model, outputs="all", **inputs)
        assert set(made) == {"text", "image", "video", "audio"}
        assert all(torch.isfinite(each).all() for each in made.values())


def test_the_order_of_words_and_a_prompts_second_half_count(model):
    one = latents(model, text="a red apple")
    assert tiny.differ(one, latents(model, text="apple red a"), by=1e-5)
    assert torch.equal(one, latents(model, text="a red apple"))


def test_prompts_of_one_batch_do_not_change_one_another(model):
    """A short prompt is padded beside a long one: padding must count for nothing."""
    alone = latents(model, text="a rooster", generator=tiny.seeded(3))
    batch = latents(model, text=["a rooster", "the sound of a drum"], generator=[tiny.seeded(3), tiny.seeded(4)])
    torch.testing.assert_close(batch[:1], alone, atol=1e-4, rtol=1e-3)
