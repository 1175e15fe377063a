"""The shipped recipes at the smallest sizes, so that a whole model is trained on the sample data in seconds."""

from pathlib import Path
from typing import Any

import yaml

RECIPES = Path(__file__).parents[2] / "recipes" / "stickers"
DATA = Path(__file__).parents[1] / "data"

ORDER = (
    *("image_autoencoder", "text_autoencoder", "audio_autoencoder", "audio_vocoder"),
    *("bridging_image", "bridging_audio", "bridging_video", "manner"),
    *("image_diffuser", "video_diffuser", "audio_diffuser", "text_diffuser"),
    *("alignment_text_image", "alignment_text_audio", "alignment_video_audio"),
)
"""Every stage, in the order in which the stages build on one another."""


def base(name: str) -> str:
    """The recipe that a recipe goes on from: ``image_diffuser`` for ``image_diffuser_longer``."""
    return next(
        first for first in sorted(ORDER, key=len, reverse=True) if name == first or name.startswith(f"{first}_")
    )


TOWER = {"block_out_channels": [8, 8], "layers_per_block": [1, 1], "num_attention_heads": 2, "norm_num_groups": 4}
UNET = {"model_channels": 16, "num_res_blocks": [1, 1], "num_attention_heads": 1, "norm_num_groups": 4}
UNET |= {"cross_attention_dim": 16, "time_embedding_dim": 16}
ALIGNMENT = {"environment_dim": 16, "environment_channels": [8, 8]}
STYLES = ["noto", "fluent-3d"]

SETTINGS: dict[str, dict[str, Any]] = {
    "image_autoencoder": {"latent_channels": 4, "block_out_channels": [8, 8], "norm_num_groups": 4},
    "text_autoencoder": {
        "vocab_size": 300,
        "latent_dim": 16,
        "hidden_size": 24,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "intermediate_size": 24,
        "num_attention_heads": 2,
    },
    "audio_autoencoder": {"latent_channels": 4, "block_out_channels": [32, 32]},
    "audio_vocoder": {"dim": 8, "intermediate_dim": 8, "num_blocks": 1, "segment_frames": 12},
    "bridging_image": {"network": {**TOWER, "projection_dim": 16}},
    "bridging_audio": {"network": {**TOWER, "projection_dim": 16}},
    "bridging_video": {"network": {"temporal_width": 8, "temporal_layers": 1, "temporal_num_attention_heads": 2}},
    "manner": {"hidden_size": 8, "harmonics": 2},
    "image_diffuser": {
        "network": {**UNET, "in_channels": 4, "out_channels": 4},
    },
    "video_diffuser": {"network": {"num_heads": 1}},
    "audio_diffuser": {"network": {**UNET, "in_channels": 4, "out_channels": 4}},
    "text_diffuser": {
        "network": {**UNET, "in_channels": 16, "out_channels": 16, "feature_tokens": 2},
    },
    "alignment_text_image": {
        "network": {
            "text_alignment": ALIGNMENT,
            "image_alignment": {**ALIGNMENT, "environment_tokens": 4},
        },
        "environment_steps": 1,
    },
    "alignment_text_audio": {
        "environment_steps": 1,
        "network": {"audio_alignment": {**ALIGNMENT, "environment_tokens": 4, "seconds_per_row": 0.128}},
    },
    "alignment_video_audio": {},
}
"""What is smaller than in the shipped recipe; ``network`` values are merged into the recipe's."""

DATA_VALUES: dict[str, dict[str, Any]] = {
    "manner": {"shards": ["images", "photos"], "num_texts": 60, "course_styles": STYLES},
    "image_diffuser": {"styles": STYLES},
    "video_diffuser": {"procedural_clips": 4, "procedural_styles": STYLES},
    "audio_diffuser": {"voices": ["joe"], "procedural_sounds": 4},
    "alignment_text_image": {"styles": STYLES},
    "alignment_video_audio": {"synchronous_clips": 4, "styles": STYLES},
}
"""What less data there is than in the shipped recipe."""


def read(name: str) -> dict[str, Any]:
    """The values of a shipped recipe."""
    return yaml.safe_load(find(name).read_text())


def find(name: str) -> Path:
    """Where a shipped recipe is."""
    path = RECIPES / f"{name}.yaml"
    return path if path.is_file() else RECIPES / "history" / f"{name}.yaml"


def shrink(name: str, folder: Path, **changes: Any) -> Path:
    """Write the tiny version of a shipped recipe into ``folder``: two steps of two items, with ``changes`` on top."""
    values = read(name)
    settings = values["settings"]
    for key, value in SETTINGS[base(name)].items():
        settings[key] = {**settings[key], **value} if key == "network" and key in settings else value
    values["data"] |= DATA_VALUES.get(base(name), {})
    # The frozen tiny sentence encoder of the fixture is used instead of MiniLM.
    if settings.get("sentence_encoder") == "minilm":
        settings["sentence_encoder"] = "trained"
        values |= {"reads": ["text_prompt_encoder"], "writes": ["image_prompt_encoder"]}
    if "prompt_map_steps" in settings:
        settings["prompt_map_steps"] = min(2, settings["prompt_map_steps"])
    values |= {"steps": 2, "batch_size": 2, "warmup_steps": 1, "report_every": 1, "validate_every": 100}
    # One process has one precision.
    values |= {"initial_weights": "", "mixed_precision": "auto"}
    values |= {"model_folder": str(folder / "model"), **changes}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
