"""Published AutoKL, AudioLDM VAE and HiFi-GAN → our image and audio autoencoders and vocoder (SPEC §4, §9).

Keys are relative to ``autokl.``, ``audioldm.`` and ``audioldm.vocoder.``.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from .strict import Rules, fit, published_keys

DROPPED_IMAGE: dict[str, str] = {}
DROPPED_AUDIO = {
    r"vocoder\..*": "belongs to the vocoder",
    r"fn_STFT\..*": "Fourier basis and mel filters; the spectrogram comes from torch.stft",
}
DROPPED_VOCODER: dict[str, str] = {}


def _rules(num_levels: int) -> Rules:
    # The published decoder counts its levels from the finest, the library's from the coarsest.
    levels = [(rf"\.up_blocks\.{i}\.", f".up.{num_levels - 1 - i}.") for i in range(num_levels)]
    return [
        (r"^vae\.", ""),
        *levels,
        (r"\.down_blocks\.", ".down."),
        (r"\.mid_block\.attentions\.0\.group_norm\.", ".mid.attn_1.norm."),
        (r"\.mid_block\.attentions\.0\.to_out\.0\.", ".mid.attn_1.proj_out."),
        (r"\.mid_block\.attentions\.0\.to_([qkv])\.", r".mid.attn_1.\1."),
        (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
        (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
        (r"\.resnets\.", ".block."),
        (r"\.(up|down)samplers\.0\.", r".\1sample."),
        (r"\.conv_shortcut\.", ".nin_shortcut."),
        (r"\.conv_norm_out\.", ".norm_out."),
    ]


def _convert(state: Mapping[str, Tensor], net: nn.Module, dropped: Mapping[str, str]) -> dict[str, Tensor]:
    rules = _rules(len(net.config.block_out_channels))
    return fit(state, net, published_keys(net.state_dict(), rules), dropped)


def convert_image_autoencoder(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The state dict for an ``ImageAutoencoder``; arguments and errors as of ``strict.fit``."""
    return _convert(state, net, DROPPED_IMAGE)


def convert_audio_autoencoder(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The state dict for an ``AudioAutoencoder``; arguments and errors as of ``strict.fit``."""
    return _convert(state, net, DROPPED_AUDIO)


def convert_vocoder(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The state dict for transformers' ``SpeechT5HifiGan``, without its normalisation, which is not used here.

    Arguments and errors as of ``strict.fit``.
    """
    names = [name for name in net.state_dict() if name not in ("mean", "scale")]
    return fit(state, net, published_keys(names, [(r"^upsampler\.", "ups.")]), DROPPED_VOCODER)
