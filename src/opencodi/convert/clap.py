"""Published CLAP → our audio prompt encoder (SPEC §1.1, §9). Keys are relative to ``clap.``."""

from collections.abc import Mapping

from torch import Tensor, nn

from .strict import fit, published_keys

DROPPED = {
    r"model\.audio_transform\..*": "a second head of CLAP that CoDi never runs",
    r"model\.audio_branch\.(head|tscam_conv)\..*": "classifier of AudioSet's labels that CoDi never runs",
    r".*\.attn_mask": "follows from the sizes; made when needed",
    r".*\.relative_position_index": "follows from the sizes; made when needed",
    # Created at the reference's first forward, so a checkpoint may or may not hold them.
    r"model\.audio_branch\.spectrogram_extractor\..*": "Fourier basis; the spectrogram comes from torch.stft",
    r"model\.audio_branch\.logmel_extractor\..*": "mel filters; made when needed",
}

_RULES = [
    (r"^audio\.audio_model\.audio_encoder\.", "model.audio_branch."),
    (r"^audio\.audio_projection\.linear1\.", "model.audio_projection.0."),
    (r"^audio\.audio_projection\.linear2\.", "model.audio_projection.2."),
    (r"\.batch_norm\.", ".bn0."),
    (r"\.attention\.self\.(query|key|value)\.", ".attn.qkv."),
    (r"\.attention\.self\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
]


def convert_clap(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The state dict for a ``ClapAudioPromptEncoder``, without the position indices that it makes itself.

    Arguments and errors as of ``strict.fit``.
    """
    names = [name for name in net.state_dict() if not name.endswith("relative_position_index")]
    return fit(state, net, published_keys(names, _RULES), DROPPED)
