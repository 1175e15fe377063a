"""The second model's later stages: its own recipes at the smallest size, in their order, and what is made together with it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from opencodi import AnyToAnyPipeline
from opencodi.denoisers import FlatUNet, UNet
from opencodi.latents import AudioAutoencoder, ImageAutoencoder
from opencodi.prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder
from opencodi.training import plan
from opencodi.training.assemble import assemble
from opencodi.training.chain import FINISHED, load_stages, run_recipes
from opencodi.training.components import save_component
from opencodi.training.options import Options

from .. import tiny
from .test_bridging_scenes import NETWORK
from .tiny_recipes import DATA, RECIPES

SECOND = RECIPES.parent / "stickers-2"
LATER = (
    "video_diffuser",
    *("evidence_text", "evidence_image", "evidence_audio", "evidence_video"),
    *("alignment_text_image", "alignment_text_audio", "alignment_video_audio"),
)
UNET = {"model_channels": 8, "num_res_blocks": [1, 1], "num_attention_heads": 2, "norm_num_groups": 4}
UNET |= {"cross_attention_dim": tiny.WIDTH, "time_embedding_dim": 16, "in_channels": 4, "out_channels": 4}
UNET |= {"channel_mult": [1, 2], "with_attention": [True, True], "context_scale": 16.0}
EVIDENCE = {"embedding_dim": tiny.WIDTH, "in_channels": 4, "channels": [8, 8], "num_heads": 2, "norm_num_groups": 4}
EVIDENCE |= {"time_channels": 8, "time_embedding_dim": 16, "num_tokens": 2, "template_size": 64}
NETWORKS: dict[str, dict[str, Any]] = {
    "evidence_text": {**EVIDENCE, "in_channels": 8, "template_size": 8, "tokens_per_feature": 2},
    **{f"evidence_{name}": EVIDENCE for name in ("image", "audio", "video")},
}


def write_recipes(folder: Path, model: Path) -> None:
    """Every later recipe with two steps of two items and tiny networks."""
    for name in LATER:
        values = yaml.safe_load((SECOND / f"{name}.yaml").read_text())
        settings = values["settings"]
        settings["network"] |= NETWORKS.get(name, {})
        if name == "video_diffuser":
            settings["network"] |= {"attention_mult": 1.0}
        for component, each in settings["network"].items():
            if component.endswith("_alignment"):
                each |= {"environment_dim": tiny.WIDTH, "width_mult": 1.0}
        if "own_steps" in settings:
            settings |= {"own_steps": dict.fromkeys(settings["pair"], 2), "own_ticks": 2}
        values["data"] |= {"scenes": 2, "held_scenes": 1}
        few = ("any_scenes", "moving_scenes", "bank_captions", "bank_moving")
        values["data"] |= {key: 2 for key in few if key in values["data"]}
        values |= {"steps": 2, "batch_size": 4, "warmup_steps": 1, "validate_every": 100, "report_every": 1}
        values |= {"model_folder": str(model)}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))


def earlier_parts(model: Path) -> None:
    """What the stages before make, with random weights."""
    text = tiny.text_prompt_encoder()
    worded = TextPromptEncoder(**{**text.config, "word_tokens": 6})
    worded.tokenizer = text.tokenizer
    image = tiny.randomise(ImagePromptEncoder(**NETWORK), 2)
    frames = {"num_frames": 2, "temporal_width": 8, "temporal_layers": 1, "frame_tokens": True}
    components = tiny.components()
    parts = {
        **{name: components[name] for name in ("text_autoencoder", "text_tokenizer", "audio_vocoder")},
        "text_prompt_encoder": tiny.randomise(worded, 1),
        "image_prompt_encoder": image,
        "video_prompt_encoder": tiny.randomise(VideoPromptEncoder.for_image_encoder(image, **frames), 3),
        "audio_prompt_encoder": tiny.randomise(AudioPromptEncoder(**tiny.MEL, **tiny.TOWER), 4),
        "image_autoencoder": tiny.randomise(
            ImageAutoencoder(**{**tiny.AUTOENCODER, "patch_size": 8}, sample_size=64, image_channels=4), 6
        ),
        "image_denoiser": tiny.randomise(UNet(**UNET), 8),
        "audio_denoiser": tiny.randomise(UNet(**UNET), 9),
        "text_denoiser": tiny.randomise(
            FlatUNet(**{**UNET, "in_channels": 8, "out_channels": 8, "feature_tokens": 2}), 10
        ),
        "audio_autoencoder": tiny.randomise(
            AudioAutoencoder(**tiny.MEL, **{**tiny.AUTOENCODER, "patch_size": 8}, sample_seconds=2.048), 7
        ),
    }
    for name, part in parts.items():
        save_component(part, model / name)


@pytest.mark.slow
def test_the_later_stages_run_in_order_and_outputs_are_made_together(tmp_path, short_samples, capsys, monkeypatch):
    monkeypatch.setattr(plan, "LEAST_SECONDS", 0.0)  # each stage is planned first
    monkeypatch.setattr(plan, "LEAST_STEPS", 1)
    recipes, model = tmp_path / "recipes", tmp_path / "model"
    recipes.mkdir()
    model.mkdir()
    earlier_parts(model)
    write_recipes(recipes, model)
    run_recipes(recipes, Options(data=DATA, device="cpu"))
    stages = load_stages(recipes)
    assert {stage.state() for stage in stages} == {FINISHED} and len(stages) == len(LATER)
    place = {stage.name: number for number, stage in enumerate(stages)}
    assert place["video_diffuser"] < place["evidence_video"] < place["alignment_video_audio"]
    assert place["evidence_text"] < place["evidence_image"] < place["alignment_text_image"]
    assert f"all {len(LATER)} stages are finished" in capsys.readouterr().out
    pipe = AnyToAnyPipeline.from_pretrained(assemble(model, tmp_path / "shipped"))
    pipe.set_progress_bar_config(disable=True)
    for outputs in (("text", "image"), ("video", "audio")):
        made = pipe(text="a rooster", outputs=outputs, num_inference_steps=2, generator=torch.Generator().manual_seed(0))
        assert all(getattr(made, modality) for modality in outputs)
    # Texts are ahead of pictures, so that their second step has a tick of its own: they exchange evidence.
    assert pipe.num_ticks(["text", "image"], num_inference_steps=2) == 3
