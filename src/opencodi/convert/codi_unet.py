"""Published CoDi networks -> ours: every parameter of the three networks has exactly one place (SPEC §2, §3).

Reference keys are relative to one network: they do not begin with ``model.diffusion_model.unet_image.`` and the like.
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from ..denoisers.blocks import Block
from ..denoisers.topology import Denoiser
from .strict import fit

# (reference, ours) inside one part, as prefixes of parameter names.
_RESIDUAL = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
]
_TEMPORAL = [
    ("frameshiftblock.out_layers.0", "frame_shift.norm"),
    ("frameshiftblock.out_layers.2", "frame_shift.conv"),
    ("temporal_attn.pos_embeds", "attention.position_embedding"),
    ("temporal_attn.frame_rate_embeds", "attention.frame_rate_embedding"),
    ("temporal_attn.norm.g", "attention.norm_weight"),
    ("temporal_attn", "attention"),
    ("temporal_rel_pos_bias.net.0.0", "position_bias.net.0"),
    ("temporal_rel_pos_bias.net.1.0", "position_bias.net.2"),
    ("temporal_rel_pos_bias.net.2", "position_bias.net.4"),
    ("ff.proj_in.0", "feed_forward.proj_in"),
    ("ff.proj_out.0.g", "feed_forward.norm_weight"),
    ("ff.proj_out.1", "feed_forward.proj_out"),
]
_TRANSFORMER = [
    ("norm", "norm"),
    ("proj_in", "proj_in"),
    ("proj_out", "proj_out"),
    *((f"transformer_blocks.0.{part}", part) for part in ("attn1", "attn2", "ff", "norm1", "norm2", "norm3")),
]
# Resampling layers are bare linear layers ("") in the text network.
_DOWN = [("op", "conv"), ("", "")]
_UP = [("conv", "conv"), ("", "")]


def _places(net: Denoiser) -> Iterator[tuple[str, str]]:
    """(reference prefix, our prefix) of every part, most specific names first."""
    yield "time_embed.0", "time_embedding.mlp.linear_1"
    yield "time_embed.2", "time_embedding.mlp.linear_2"
    yield "input_blocks.0.0", "conv_in"
    for i, block in enumerate(net.encoder):
        yield from _block(block, f"input_blocks.{i + 1}", f"encoder.{i}", f"input_block_connecters_in.{i + 1}.0")
    # The reference counts the parts of the middle, we count its blocks.
    yield from _block(net.middle[0], "middle_block", "middle.0")
    yield from _block(net.middle[1], "middle_block", "middle.1", position=2)
    for i, block in enumerate(net.decoder):
        yield from _block(block, f"output_blocks.{i}", f"decoder.{i}", f"output_block_connecters_in.{i}.0")
    yield "out.0", "conv_out.norm"
    yield "out.2", "conv_out.proj"
    if net.environment_encoder is not None:
        last = len(net.environment_encoder) - 1
        yield "connecters_out.0.0", "environment_encoder.0"
        for i in range(1, last):
            yield from _block(net.environment_encoder[i], f"connecters_out.{i}", f"environment_encoder.{i}")
        yield f"connecters_out.{last}.0", f"environment_encoder.{last}.norm"
        yield f"connecters_out.{last}.2", f"environment_encoder.{last}.proj"


def _block(block: Block, theirs: str, ours: str, alignment: str = "", position: int = 0) -> Iterator[tuple[str, str]]:
    if block.residual is not None:
        residual = f"{theirs}.{position}" + (".0" if block.temporal is not None else "")
        yield from _inside(_RESIDUAL, residual, f"{ours}.residual")
        yield from _inside(_TEMPORAL, f"{theirs}.{position}.1", f"{ours}.temporal")
        position += 1
    if block.attention is not None:
        yield from _inside(_TRANSFORMER, f"{theirs}.{position}", f"{ours}.attention")
        position += 1
    yield from _inside(_DOWN if block.residual is None else _UP, f"{theirs}.{position}", f"{ours}.resample")
    yield from _inside(_TRANSFORMER, alignment, f"{ours}.alignment")


def _inside(table: list[tuple[str, str]], theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for their_part, our_part in table:
        yield f"{theirs}.{their_part}".removesuffix("."), f"{ours}.{our_part}".removesuffix(".")


def reference_keys(net: Denoiser) -> dict[str, list[str]]:
    """Every key of the reference's state dict -> our names of its tensor, or of its equal parts (``to_kv``)."""
    # Of several prefixes that fit a name the longest counts.
    places = sorted(((ours, theirs) for theirs, ours in reversed([*_places(net)])), key=lambda place: -len(place[0]))
    keys: dict[str, list[str]] = {}
    for name in net.state_dict():
        ours, theirs = next(place for place in places if name == place[0] or name.startswith(place[0] + "."))
        key = theirs + name[len(ours) :]
        if ".temporal_attn." in key:
            key = key.replace(".to_k.", ".to_kv.").replace(".to_v.", ".to_kv.")
        keys.setdefault(key, []).append(name)
    return keys


def convert_unet(state: Mapping[str, Tensor], net: Denoiser) -> dict[str, Tensor]:
    """The state dict for ``net`` from a published network's.

    1x1 convolutions of the reference that are linear layers here lose their kernel axes.

    Args:
        state: reference tensors by key, relative to one network.
        net: our network with the config of the published one; only its names and shapes are used (``meta`` will do).

    Raises:
        ConfigurationError: if a key is missing, unknown, or has another shape than the config says.
    """
    return fit(state, net, reference_keys(net))
