"""The reduced published networks: their weights and stored cases as the reference gave them, our configs of them."""

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

GOLDENS = Path(__file__).parent / "goldens"

CLIP_TEXT = {
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 20,
    "projection_dim": 48,
}
CLIP_VISION = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "projection_dim": 48,
}
CLIP_TEMPORAL = {
    name: CLIP_VISION[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "projection_dim")
}
CLAP = {
    "patch_embeds_hidden_size": 16,
    "depths": (2, 2, 2, 2),
    "num_attention_heads": (2, 4, 8, 16),
    "projection_dim": 32,
}
AUTOKL = {
    "patch_size": 1,
    "latent_channels": 4,
    "block_out_channels": (32, 64, 64, 64),
    "layers_per_block": 1,
    "mid_block_add_attention": True,
}
AUDIOLDM = {
    "hop_length": 160,
    "mel_mean": 0.0,
    "mel_std": 1.0,
    "waveform_peak": 0.5,
    "patch_size": 1,
    "latent_channels": 8,
    "block_out_channels": (32, 64, 128),
    "layers_per_block": 1,
    "mid_block_add_attention": True,
}
VOCODER = {
    "model_in_dim": 64,
    "upsample_initial_channel": 64,
    "upsample_rates": (5, 4, 2, 2, 2),
    "upsample_kernel_sizes": (16, 16, 8, 4, 4),
    "resblock_kernel_sizes": (3, 7, 11),
    "resblock_dilation_sizes": ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
    "normalize_before": False,
}
OPTIMUS = {
    "latent_dim": 48,
    "encoder_vocab_size": 500,
    "encoder_hidden_size": 64,
    "encoder_layers": 3,
    "encoder_heads": 4,
    "encoder_intermediate_size": 128,
    "token_type_vocab_size": 2,
    "decoder_vocab_size": 500,
    "decoder_hidden_size": 64,
    "decoder_layers": 3,
    "decoder_heads": 4,
    "decoder_intermediate_size": 256,
    "decoder_max_length": 64,
    "pad_token_id": 497,
    "bos_token_id": 1,
    "eos_token_id": 499,
    "encoder_pooling": "first",
    "log_variance_offset": 0.0,
}


@cache
def cases(folder: str) -> dict[str, Tensor]:
    """The stored inputs and outputs of one folder of goldens."""
    return load_file(GOLDENS / folder / "cases.safetensors")


def weights(folder: str, prefix: str = "") -> dict[str, Tensor]:
    """The stored weights whose keys begin with ``prefix``, relative to it, in float32."""
    state = load_file(GOLDENS / folder / "weights_0.safetensors")
    return {
        key.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
        if key.startswith(prefix)
    }


def load(net: torch.nn.Module, converted: dict[str, Tensor]) -> torch.nn.Module:
    """``net`` with converted weights; what they lack must be buffers that it makes itself."""
    missing = net.load_state_dict(converted, strict=False).missing_keys
    assert not set(missing) & {name for name, _ in net.named_parameters()}
    return net.eval().requires_grad_(False)


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    """The tolerance of the goldens' README, unless a case says otherwise."""
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)
