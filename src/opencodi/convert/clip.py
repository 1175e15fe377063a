"""Published CLIP → our text, image and video prompt encoders (SPEC §1.1, §9). Keys are relative to ``clip.model.``."""

from collections.abc import Mapping

from torch import Tensor, nn

from .strict import fit, published_keys

_COUNTS = {r".*\.position_ids": "counts positions from 0; made when needed"}
_SCALE = {r"logit_scale": "temperature of CLIP's contrastive loss, which only training needs"}
_TEXT = {r"text_model\..*|text_projection\..*": "belongs to the text prompt encoder"}
_VISION = {r"vision_model\..*|visual_projection\..*": "belongs to the image and video prompt encoders"}
_TOWER = {
    r"(?!.*\.temporal_self_attn\.)(vision_model\..*|visual_projection\..*)": "belongs to the image prompt encoder"
}
_TEMPORAL = {r".*\.temporal_self_attn\..*": "belongs to the video prompt encoder"}
_UNUSED = {
    r".*\.temporal_attn\.(pos_embeds|frame_rate_embeds)": "made but never added in the vision tower's temporal blocks"
}

DROPPED_TEXT = {**_COUNTS, **_SCALE, **_VISION}
DROPPED_IMAGE = {**_COUNTS, **_SCALE, **_TEXT, **_TEMPORAL}
DROPPED_VIDEO = {**_COUNTS, **_SCALE, **_TEXT, **_TOWER, **_UNUSED}

_TEMPORAL_RULES = [
    (r"^temporal\.(\d+)\.", r"vision_model.encoder.layers.\1.temporal_self_attn."),
    (r"position_bias\.net\.0\.", "temporal_rel_pos_bias.net.0.0."),
    (r"position_bias\.net\.2\.", "temporal_rel_pos_bias.net.1.0."),
    (r"position_bias\.net\.4\.", "temporal_rel_pos_bias.net.2."),
    (r"feed_forward\.proj_in", "ff.proj_in.0"),
    (r"feed_forward\.norm_weight", "ff.proj_out.0.g"),
    (r"feed_forward\.proj_out", "ff.proj_out.1"),
    (r"temporal_self_attn\.attention\.", "temporal_self_attn.temporal_attn."),
    (r"temporal_attn\.norm_weight", "temporal_attn.norm.g"),
    (r"temporal_attn\.to_[kv]\.", "temporal_attn.to_kv."),
]


def convert_clip_text(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The state dict for a ``ClipTextPromptEncoder``; arguments and errors as of ``strict.fit``."""
    return fit(state, net, published_keys(net.state_dict(), [(r"^text\.", "")]), DROPPED_TEXT)


def convert_clip_image(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The state dict for a ``ClipImagePromptEncoder``; arguments and errors as of ``strict.fit``."""
    return fit(state, net, published_keys(net.state_dict(), [(r"^vision\.", "")]), DROPPED_IMAGE)


def convert_clip_video(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The state dict for a ``ClipVideoPromptEncoder``; arguments and errors as of ``strict.fit``."""
    return fit(state, net, published_keys(net.state_dict(), _TEMPORAL_RULES), DROPPED_VIDEO)
