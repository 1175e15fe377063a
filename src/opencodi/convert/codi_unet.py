"""Published CoDi networks -> a plain denoiser, a temporal adapter and an alignment adapter (SPEC §2, §3).

Every published parameter has exactly one place, but for the time embedding: the published environment encoder uses the
denoiser's, ours has a copy of its own. Reference keys are relative to one network: they do not begin with
``model.diffusion_model.unet_image.`` and the like.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from torch import Tensor, nn

from ..denoisers import AlignmentAdapter, TemporalAdapter
from ..denoisers.topology import Denoiser
from .strict import fit

Component = Denoiser | TemporalAdapter | AlignmentAdapter

_TIME = r"(input_blocks\.\d+\.0|middle_block\.[02]|output_blocks\.\d+\.0)\.1\..*"
_PLAIN = r"(time_embed|input_blocks|middle_block|output_blocks|out)\..*"
_SHIFT = r"(input_blocks|middle_block|output_blocks)\.(\d+)(?:\.0)?\.1\.frameshiftblock\..*weight"
_ALIGNED = r"(connecters_out|input_block_connecters_in|output_block_connecters_in)\..*"
TEMPORAL = {_TIME: "belongs to the temporal adapter"}
ALIGNMENT = {_ALIGNED: "belongs to the alignment adapter"}
DROPPED_DENOISER = {**TEMPORAL, **ALIGNMENT}
DROPPED_TEMPORAL = {rf"(?!{_TIME}$)({_PLAIN}|{_ALIGNED})": "belongs to the denoiser or its alignment adapter"}
DROPPED_ALIGNMENT = {rf"(?!time_embed\.)({_PLAIN})": "belongs to the denoiser or its temporal adapter"}
"""Reference keys of one network that have no place in one of its components, and why (see ``strict.fit``)."""

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


def _denoiser(net: Denoiser, timed: Collection[str]) -> Iterator[tuple[str, str]]:
    """(reference prefix, our prefix) of every part of a denoiser.

    ``timed``: our names of the parts beside which the reference keeps a temporal block, which counts in its names.
    """
    yield "time_embed.0", "time_embedding.mlp.linear_1"
    yield "time_embed.2", "time_embedding.mlp.linear_2"
    yield "input_blocks.0.0", "conv_in"
    for i, block in enumerate(net.encoder):
        yield from _block(block, f"input_blocks.{i + 1}", f"encoder.{i}", timed)
    # The reference counts the parts of the middle, we count its blocks.
    yield from _block(net.middle[0], "middle_block", "middle.0", timed)
    yield from _block(net.middle[1], "middle_block", "middle.1", timed, position=2)
    for i, block in enumerate(net.decoder):
        yield from _block(block, f"output_blocks.{i}", f"decoder.{i}", timed)
    yield "out.0", "conv_out.norm"
    yield "out.2", "conv_out.proj"


def _block(
    block: nn.Module, theirs: str, ours: str, timed: Collection[str], position: int = 0
) -> Iterator[tuple[str, str]]:
    if block.residual is not None:
        wrapped = ".0" if f"{ours}.residual" in timed else ""
        yield from _inside(_RESIDUAL, f"{theirs}.{position}{wrapped}", f"{ours}.residual")
        position += 1
    if getattr(block, "attention", None) is not None:
        yield from _inside(_TRANSFORMER, f"{theirs}.{position}", f"{ours}.attention")
        position += 1
    yield from _inside(_DOWN if block.residual is None else _UP, f"{theirs}.{position}", f"{ours}.resample")


def _temporal(net: TemporalAdapter) -> Iterator[tuple[str, str]]:
    for i, name in enumerate(net.config.block_names):
        part, number, _ = name.split(".")
        place = {
            "encoder": f"input_blocks.{int(number) + 1}.0",
            "middle": f"middle_block.{2 * int(number)}",
            "decoder": f"output_blocks.{number}.0",
        }[part]
        yield from _inside(_TEMPORAL, f"{place}.1", f"blocks.{i}")


def _alignment(net: AlignmentAdapter) -> Iterator[tuple[str, str]]:
    for i, name in enumerate(net.config.block_names):
        part, number = name.split(".")
        first = part == "encoder"
        place = f"input_block_connecters_in.{int(number) + 1}" if first else f"output_block_connecters_in.{number}"
        yield from _inside(_TRANSFORMER, f"{place}.0", f"blocks.{i}")
    encoder = net.environment_encoder
    yield "time_embed.0", "environment_encoder.time_embedding.mlp.linear_1"
    yield "time_embed.2", "environment_encoder.time_embedding.mlp.linear_2"
    last = len(encoder.layers) - 1
    yield "connecters_out.0.0", "environment_encoder.layers.0"
    for i in range(1, last):
        block, theirs, ours = encoder.layers[i], f"connecters_out.{i}", f"environment_encoder.layers.{i}"
        timed = [f"{ours}.residual"] if block.temporal is not None else []
        yield from _block(block, theirs, ours, timed)
        yield from _inside(_TEMPORAL, f"{theirs}.0.1", f"{ours}.temporal")
    yield f"connecters_out.{last}.0", f"environment_encoder.layers.{last}.norm"
    yield f"connecters_out.{last}.2", f"environment_encoder.layers.{last}.proj"


def _inside(table: list[tuple[str, str]], theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for their_part, our_part in table:
        yield f"{theirs}.{their_part}".removesuffix("."), f"{ours}.{our_part}".removesuffix(".")


def reference_keys(net: Component, timed: Collection[str] = ()) -> dict[str, list[str]]:
    """Every key of the reference's state dict that ``net`` holds -> our names of its tensor, or of its equal parts (``to_kv``).

    ``timed``: for a denoiser, ``block_names`` of the temporal adapter that the published network has beside it.
    """
    if isinstance(net, Denoiser):
        found = _denoiser(net, timed)
    else:
        found = _temporal(net) if isinstance(net, TemporalAdapter) else _alignment(net)
    # Of several prefixes that fit a name the longest counts.
    places = sorted(((ours, theirs) for theirs, ours in reversed([*found])), key=lambda place: -len(place[0]))
    keys: dict[str, list[str]] = {}
    for name in net.state_dict():
        ours, theirs = next(place for place in places if name == place[0] or name.startswith(place[0] + "."))
        key = theirs + name[len(ours) :]
        if ".temporal_attn." in key:
            key = key.replace(".to_k.", ".to_kv.").replace(".to_v.", ".to_kv.")
        keys.setdefault(key, []).append(name)
    return keys


def convert_unet(state: Mapping[str, Tensor], net: Component) -> dict[str, Tensor]:
    """The state dict for one component of a published network: a denoiser or one of its adapters.

    1x1 convolutions of the reference that are linear layers here lose their kernel axes.

    Args:
        state: reference tensors by key, relative to one network.
        net: our component with the config of the published one; only its names and shapes are used (``meta`` will do).

    Raises:
        ConfigurationError: if a key is missing, unknown, or has another shape than the config says.
    """
    return fit(state, net, reference_keys(net, timed_blocks(state)), dropped(net))


def dropped(net: Component) -> dict[str, str]:
    """What of a published network has no place in this component."""
    if isinstance(net, Denoiser):
        return DROPPED_DENOISER
    return DROPPED_TEMPORAL if isinstance(net, TemporalAdapter) else DROPPED_ALIGNMENT


def timed_blocks(state: Mapping[str, Tensor]) -> list[str]:
    """Our names of the residual parts beside which a published network has a temporal block."""
    names = []
    for key in state:
        if found := re.fullmatch(
            r"(input_blocks|middle_block|output_blocks)\.(\d+)(?:\.0)?\.1\.frameshiftblock\..*weight", key
        ):
            part, number = found[1], int(found[2])
            numbers = {"input_blocks": number - 1, "middle_block": number // 2, "output_blocks": number}
            name = {"input_blocks": "encoder", "middle_block": "middle", "output_blocks": "decoder"}[part]
            names.append(f"{name}.{numbers[part]}.residual")
    return sorted(set(names))
