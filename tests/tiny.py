"""A complete tiny model: every component real, at the smallest size, with random weights from a seed.

pipe = tiny.pipeline()
out = pipe(text="a rooster", outputs="all", num_inference_steps=2, **tiny.SIZE)
"""

from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import nn

from opencodi import AnyToAnyPipeline, Audio, Modality, Video
from opencodi.denoisers import AlignmentAdapter, FlatUNet, TemporalAdapter, UNet
from opencodi.latents.audio import AudioAutoencoder
from opencodi.latents.image import ImageAutoencoder
from opencodi.latents.text import TextAutoencoder, build_tokenizer
from opencodi.latents.vocoder import Vocoder
from opencodi.prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder

SENTENCES = ["a rooster", "a red apple", "the sound of a drum", "a rocket flies"]
WIDTH = 16  # of the shared space
VOCABULARY = 300
MEL = {"n_fft": 512, "win_length": 512, "hop_length": 256, "num_mel_bins": 16}
TOWER = {"patch_size": 2, "block_out_channels": (8, 8), "layers_per_block": (1, 1), "projection_dim": WIDTH}
AUTOENCODER = {"patch_size": 2, "latent_channels": 4, "block_out_channels": (8, 8), "norm_num_groups": 4}
DENOISER = {
    "model_channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": (1, 1),
    "with_attention": (False, True),
    "num_attention_heads": 2,
    "cross_attention_dim": WIDTH,
    "context_scale": 4.0,
    "norm_num_groups": 2,
}
ALIGNMENT = {"levels": (False, True), "environment_dim": WIDTH, "environment_channels": (8, 8)}


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Replace every weight by noise from ``seed``: layers that start at zero then count, too.

    Half the gain that would keep the size of features: random networks of full gain amplify rounding errors until a
    batch no longer resembles its parts.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.data = 0.5 * noise / parameter[0].numel() ** 0.5
        else:
            parameter.data = 0.1 * noise + name.endswith("weight")
    return module.eval()


def text_prompt_encoder() -> TextPromptEncoder:
    encoder = TextPromptEncoder(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        projection_hidden_size=16,
        projection_dim=WIDTH,
    )
    encoder.tokenizer = build_tokenizer(SENTENCES, VOCABULARY).backend_tokenizer
    return randomise(encoder, 1)


def image_prompt_encoder() -> ImagePromptEncoder:
    return randomise(ImagePromptEncoder(sample_size=16, **TOWER), 2)


def video_prompt_encoder() -> VideoPromptEncoder:
    widths = {"feature_dim": TOWER["block_out_channels"][-1], "projection_dim": WIDTH}
    return randomise(VideoPromptEncoder(num_frames=3, temporal_width=8, temporal_layers=1, **widths), 3)


def audio_prompt_encoder() -> AudioPromptEncoder:
    return randomise(AudioPromptEncoder(num_samples=4096, **MEL, **TOWER), 4)


def text_autoencoder() -> TextAutoencoder:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16}
    halves = {f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in sizes.items()}
    return randomise(TextAutoencoder(latent_dim=8, sample_length=8, **halves), 5)


def image_autoencoder() -> ImageAutoencoder:
    return randomise(ImageAutoencoder(**AUTOENCODER, sample_size=16, sample_frames=3), 6)


def audio_autoencoder() -> AudioAutoencoder:
    return randomise(AudioAutoencoder(**MEL, **AUTOENCODER, sample_seconds=0.256), 7)


def audio_vocoder() -> Vocoder:
    with torch.random.fork_rng():  # its own start is random, without zeros, and of the right loudness
        torch.manual_seed(8)
        return Vocoder(**MEL, dim=8, intermediate_dim=8, num_blocks=1).eval()


def text_denoiser(**config: Any) -> FlatUNet:
    sizes = {"in_channels": 8, "out_channels": 8, "feature_tokens": 2}
    return randomise(FlatUNet(**{**DENOISER, **sizes, **config}), 9)


def image_denoiser(**config: Any) -> UNet:
    return randomise(UNet(**{**DENOISER, **config}), 10)


def audio_denoiser(**config: Any) -> UNet:
    return randomise(UNet(**{**DENOISER, **config}), 11)


def video_temporal(**config: Any) -> TemporalAdapter:
    return randomise(TemporalAdapter.for_denoiser(image_denoiser().config, num_heads=2, **config), 12)


def alignment(denoiser: nn.Module, seed: int, **config: Any) -> AlignmentAdapter:
    return randomise(AlignmentAdapter.for_denoiser(denoiser, **{**ALIGNMENT, **config}), seed)


def alignments() -> dict[str, AlignmentAdapter]:
    """The alignment adapter of every denoiser."""
    return {
        "text_alignment": alignment(text_denoiser(), 13),
        "image_alignment": alignment(image_denoiser(), 14, temporal=video_temporal().config),
        "audio_alignment": alignment(audio_denoiser(), 15),
    }


def scheduler() -> DDIMScheduler:
    """The scheduler the stickers train with."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )


def components() -> dict[str, Any]:
    """Every component of the pipeline by name."""
    return {
        "text_prompt_encoder": text_prompt_encoder(),
        "image_prompt_encoder": image_prompt_encoder(),
        "video_prompt_encoder": video_prompt_encoder(),
        "audio_prompt_encoder": audio_prompt_encoder(),
        "text_autoencoder": text_autoencoder(),
        "text_tokenizer": build_tokenizer(SENTENCES, VOCABULARY),
        "image_autoencoder": image_autoencoder(),
        "audio_autoencoder": audio_autoencoder(),
        "audio_vocoder": audio_vocoder(),
        "text_denoiser": text_denoiser(),
        "image_denoiser": image_denoiser(),
        "audio_denoiser": audio_denoiser(),
        "video_temporal": video_temporal(),
        **alignments(),
        "scheduler": scheduler(),
    }


def pipeline(**changes: Any) -> AnyToAnyPipeline:
    """The tiny pipeline; ``changes`` replace components (``None`` removes one) or set ``exchange``."""
    pipe = AnyToAnyPipeline(**{**components(), **changes})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def media(seed: int = 0) -> dict[str, Any]:
    """One input of each modality; another seed gives others."""
    random = np.random.default_rng(seed)
    samples = random.uniform(-0.5, 0.5, 4096).astype(np.float32)
    return {
        "text": SENTENCES[seed % len(SENTENCES)],
        "image": Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)),
        "video": Video(random.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8), fps=8.0),
        "audio": Audio(samples, 16000),
    }


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latents(pipe: AnyToAnyPipeline, seed: int = 0, **call: Any) -> dict[Modality, torch.Tensor]:
    """One call with few steps; the latents by output."""
    call = {"outputs": ["image"], "num_inference_steps": 2, "generator": seeded(seed), **call}
    out = pipe(**call, output_type="latent")
    return {modality: out[modality] for modality in Modality if out[modality] is not None}


def differ(one: torch.Tensor, other: torch.Tensor, by: float = 1e-3) -> bool:
    """Whether two tensors differ by more than rounding."""
    return (one - other).abs().max().item() > by


def opened(folder, **options) -> AnyToAnyPipeline:
    """The pipeline of a model folder, without a progress bar."""
    pipe = AnyToAnyPipeline.from_pretrained(folder, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe
