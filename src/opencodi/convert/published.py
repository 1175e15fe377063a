"""The published model as configs of our classes (SPEC §1, §2, §4), and what its folder says beside its weights.

The denoisers have ``skip="aliased"``: the published weights were most likely trained with that skip (SPEC §0.2), so it
stays whatever ``exchange`` is chosen.
"""

from typing import Any

from ..denoisers.alignment import alignment_config
from ..denoisers.temporal import temporal_config

_VISION = {
    "image_size": 224,
    "patch_size": 14,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "projection_dim": 768,
}
_DENOISER = {
    "channel_mult": (1, 2, 4, 4),
    "num_res_blocks": (2, 2, 2, 2),
    "with_attention": (True, True, True, False),
    "num_attention_heads": 8,
    "cross_attention_dim": 768,
    "norm_num_groups": 32,
    "skip": "aliased",
}
_TEXT = {**_DENOISER, "model_channels": 320, "feature_tokens": 4, "in_channels": 768, "out_channels": 768}
_IMAGE = {**_DENOISER, "model_channels": 320, "in_channels": 4, "out_channels": 4}
_AUDIO = {**_DENOISER, "model_channels": 192, "in_channels": 8, "out_channels": 8}
_TEMPORAL = temporal_config(
    _IMAGE, num_heads=8, attention_mult=2.0, feed_forward_mult=8 / 3, max_frames=30, frame_rate=4
)


def _alignment(denoiser: dict[str, Any], channels: tuple[int, ...], **values: Any) -> dict[str, Any]:
    aligned = (True, True, True, False)
    return alignment_config(denoiser, aligned, environment_dim=1280, environment_channels=channels, **values)


CONFIGS: dict[str, dict[str, Any]] = {
    "text_prompt_encoder": {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "projection_dim": 768,
    },
    "image_prompt_encoder": _VISION,
    "video_prompt_encoder": {
        name: _VISION[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "projection_dim")
    },
    "audio_prompt_encoder": {
        "patch_embeds_hidden_size": 256,
        "depths": (2, 2, 12, 2),
        "num_attention_heads": (4, 8, 16, 32),
        "projection_dim": 768,
    },
    "text_autoencoder": {
        "latent_dim": 768,
        "encoder_vocab_size": 28996,
        "encoder_hidden_size": 768,
        "encoder_layers": 12,
        "encoder_heads": 12,
        "encoder_intermediate_size": 3072,
        "encoder_max_length": 512,
        "encoder_pooling": "first",
        "token_type_vocab_size": 2,
        "decoder_vocab_size": 50260,
        "decoder_hidden_size": 768,
        "decoder_layers": 12,
        "decoder_heads": 12,
        "decoder_intermediate_size": 3072,
        "decoder_max_length": 1024,
        "pad_token_id": 50257,
        "bos_token_id": 50258,
        "eos_token_id": 50259,
        "log_variance_offset": 0.0,
        "scaling_factor": 4.3108,
        "sample_length": 31,  # 30 tokens after <BOS>
        "drop_repeats": True,
    },
    "image_autoencoder": {
        "patch_size": 1,
        "latent_channels": 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "mid_block_add_attention": True,
        "scaling_factor": 0.18215,
        "sample_size": 256,
        "sample_frames": 8,
    },
    "audio_autoencoder": {
        "sample_rate": 16000,
        "hop_length": 160,
        "num_mel_bins": 64,
        "waveform_peak": 0.5,
        "mel_mean": 0.0,
        "mel_std": 1.0,
        "patch_size": 1,
        "latent_channels": 8,
        "block_out_channels": (128, 256, 512),
        "layers_per_block": 2,
        "mid_block_add_attention": True,
        "scaling_factor": 0.9228,
        "sample_seconds": 10.24,
    },
    "audio_vocoder": {
        "model_in_dim": 64,
        "sampling_rate": 16000,
        "upsample_initial_channel": 1024,
        "upsample_rates": (5, 4, 2, 2, 2),
        "upsample_kernel_sizes": (16, 16, 8, 4, 4),
        "resblock_kernel_sizes": (3, 7, 11),
        "resblock_dilation_sizes": ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
        "leaky_relu_slope": 0.1,
        "normalize_before": False,
    },
    "text_denoiser": _TEXT,
    "image_denoiser": _IMAGE,
    "audio_denoiser": _AUDIO,
    "video_temporal": _TEMPORAL,
    "text_alignment": _alignment(_TEXT, (320, 640, 1280)),
    "image_alignment": _alignment(_IMAGE, (320, 640, 1280), temporal=_TEMPORAL),
    "audio_alignment": _alignment(_AUDIO, (192, 384, 768)),
}
"""Component → config values of its class."""

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
}
"""diffusers' DDIM with the published schedule (SPEC §5)."""

DEFAULTS = {"num_inference_steps": 50, "guidance_scale": 7.5}
"""What a generation does unless told otherwise (SPEC §1)."""

TOKENIZERS = {"clip": "openai/clip-vit-large-patch14", "bert": "bert-base-cased", "gpt2": "gpt2"}
"""Where the tokenizers of CLIP and Optimus come from: names on the Hugging Face hub, or folders."""

DROPPED = {
    r"(betas|alphas_cumprod|alphas_cumprod_prev|sqrt_alphas_cumprod|sqrt_one_minus_alphas_cumprod"
    r"|log_one_minus_alphas_cumprod|sqrt_recip_alphas_cumprod|sqrt_recipm1_alphas_cumprod|posterior_variance"
    r"|posterior_log_variance_clipped|posterior_mean_coef1|posterior_mean_coef2)": "the schedule; the scheduler makes it"
}
"""Keys of no component (see ``strict.fit``)."""
