"""The image denoiser on stickers and scenes whose latents lie on disk, prompted by several tokens."""

from pathlib import Path

import numpy as np
import pytest
import torch

from opencodi.denoisers import UNet
from opencodi.latents import ImageAutoencoder, build_tokenizer
from opencodi.prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder
from opencodi.training.task import save_component

from .. import tiny
from . import making
from .test_bridging_scenes import NETWORK

UNET = {
    **{"in_channels": 4, "out_channels": 4, "patch_size": 2, "model_channels": 16, "channel_mult": [1, 2]},
    **{"num_res_blocks": [1, 1], "with_attention": [True, True], "num_attention_heads": 2},
    **{"cross_attention_dim": tiny.WIDTH, "context_scale": 4.0, "norm_num_groups": 4},
}
SCHEDULER = {"class": "DDIMScheduler", "num_train_timesteps": 1000, "prediction_type": "v_prediction"}
VALUES = {
    **{"network": UNET, "scheduler": SCHEDULER, "prompt_shares": {"text": 0.6, "image": 0.2}, "name_share": 0.3},
    **{"condition_noise": 0.03, "detail_share": 0.7, "shards": {"images": 1.0}},
    **{"scenes": 6, "held_scenes": 4, "scene_share": 0.5},
}


FLAT = {name: value for name, value in UNET.items() if name != "patch_size"} | {"in_channels": 8, "out_channels": 8}
TEXT = {
    **{"network": {**FLAT, "feature_tokens": 2}, "prompt_shares": {"text": 0.4, "own": 0.5}},
    **{"shards": {"images": 0.4, "sounds": 0.3, "speech": 0.3}, "moving_scenes": 3},
}
AUDIO = {"network": {**UNET, "patch_size": 1}, "prompt_shares": {"text": 0.6, "audio": 0.3}}
AUDIO |= {"shards": {"sounds": 0.5, "speech": 0.5}}


@pytest.fixture
def folder(tmp_path) -> Path:
    text = tiny.text_prompt_encoder()
    worded = TextPromptEncoder(**{**text.config, "word_tokens": 6})
    worded.tokenizer = text.tokenizer
    parts = {
        "text_prompt_encoder": tiny.randomise(worded, 1),
        "image_prompt_encoder": tiny.randomise(ImagePromptEncoder(**NETWORK), 2),
        "image_autoencoder": tiny.randomise(ImageAutoencoder(**tiny.AUTOENCODER, sample_size=64, image_channels=4), 3),
        "audio_prompt_encoder": tiny.randomise(AudioPromptEncoder(**tiny.MEL, **tiny.TOWER), 4),  # of two seconds
        "audio_autoencoder": tiny.audio_autoencoder(),
        "text_autoencoder": tiny.text_autoencoder(),
        "text_tokenizer": build_tokenizer(tiny.SENTENCES, tiny.VOCABULARY),
    }
    for name, part in parts.items():
        save_component(part, tmp_path / name)
    return tmp_path


def test_prompts_have_an_embedding_words_or_regions_or_nothing(folder):
    task = making.make_task("image_diffuser", folder, **VALUES)
    batch = task.sample_batch(np.random.default_rng(0), 64)
    tokens, mask = batch["condition"], batch["mask"]
    assert batch["latents"].shape == (64, 4, 16, 16) and tokens.shape == (64, mask.shape[1], tiny.WIDTH)
    assert mask[:, 0].all() and (tokens[~mask] == 0).all()
    prompted = tokens[:, 0].norm(dim=-1) > 0
    assert 0.6 < prompted.float().mean() < 0.95  # the rest has no prompt at all
    assert (mask[~prompted].sum(1) == 1).all()
    counts = mask[prompted].sum(1)
    assert {1, 17} <= set(counts.tolist()) and ((counts > 1) & (counts < 9)).any()  # embedding alone, regions, words


def test_latents_are_made_once_and_more_scenes_join_them(folder):
    first = making.make_task("image_diffuser", folder, **VALUES)
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("training/image-latents-*/*/*.safetensors")}
    assert len(files) == 3
    more = making.make_task("image_diffuser", folder, **{**VALUES, "scenes": 8})
    assert len(more.items) == len(first.items) + 2
    kept = {path: path.stat().st_mtime_ns for path in files}
    assert kept == files
    assert more.items.captions(np.arange(3)) == first.items.captions(np.arange(3))


def test_a_few_steps_lower_the_loss_and_samples_are_shown(folder, tmp_path, generator):
    task = making.make_task("image_diffuser", folder, **VALUES)
    optimizer = torch.optim.AdamW(task.trained_parameters().values(), lr=3e-3)
    history = []
    for step in range(16):
        batch = task.sample_batch(np.random.default_rng(step), 16)
        loss = task(batch, torch.Generator().manual_seed(step % 2))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append(loss.item())
    assert np.mean(history[-4:]) < np.mean(history[:4]) - 0.03
    assert task.eval().validate(generator)["loss"] > 0
    task.sample(tmp_path / "samples.png", generator)
    assert (tmp_path / "samples.png").stat().st_size > 1000


def test_a_masked_word_changes_nothing_and_an_unmasked_one_does():
    network = tiny.randomise(UNet(**UNET))
    noise, times = torch.randn(1, 4, 16, 16), torch.tensor([500])
    tokens = torch.randn(1, 3, tiny.WIDTH)
    mask = torch.tensor([[True, True, False]])
    made = network(noise, times, network.context(tokens, mask))
    assert made.shape == noise.shape
    other = tokens.clone()
    other[:, 2] += 1
    torch.testing.assert_close(network(noise, times, network.context(other, mask)), made)
    torch.testing.assert_close(network(noise, times, network.context(tokens[:, :2])), made)
    other[:, 1] += 1
    assert not torch.allclose(network(noise, times, network.context(other, mask)), made)


def test_folding_is_pixel_unshuffle_around_the_same_network():
    folded = tiny.randomise(UNet(**UNET))
    plain = UNet(**{**UNET, "patch_size": 1, "in_channels": 16, "out_channels": 16})
    plain.load_state_dict(folded.state_dict())
    noise, times, tokens = torch.randn(2, 4, 16, 16), torch.tensor([3, 500]), torch.randn(2, 1, tiny.WIDTH)
    inner = plain(torch.nn.functional.pixel_unshuffle(noise, 2), times, tokens)
    torch.testing.assert_close(torch.nn.functional.pixel_shuffle(inner, 2), folded(noise, times, tokens))


def test_a_text_is_prompted_by_other_words_and_by_what_it_names(folder, generator):
    task = making.make_task("text_diffuser", folder, **{**VALUES, **TEXT})
    batch = task.sample_batch(np.random.default_rng(0), 64)
    assert batch["latents"].shape == (64, 8) and torch.isfinite(batch["latents"]).all()
    counts = set(batch["mask"].sum(1).tolist())
    assert {1, 17} <= counts  # sounds and the aligned embedding alone have one token, pictures have seventeen
    spoken = task.items.captions(task.items.chunks.starts[2:3])[0]
    assert spoken[0] in spoken[1] and spoken[1].startswith("the word ")
    assert torch.isfinite(task(batch, generator)["loss"])
    assert {"exact_from_text", "exact_from_own"} <= task.eval().validate(generator).keys()


def test_sounds_of_moving_scenes_are_learned_beside_recordings(folder, generator):
    task = making.make_task("audio_diffuser", folder, **{**VALUES, **AUDIO, "scenes": 3, "held_scenes": 2})
    batch = task.sample_batch(np.random.default_rng(0), 32)
    assert batch["latents"].ndim == 4 and torch.isfinite(batch["latents"]).all()
    assert np.diff(task.items.chunks.starts)[-1] == 3 and len(task.held) == 2
    assert torch.isfinite(task(batch, generator)["loss"])
