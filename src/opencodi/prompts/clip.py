"""Text, image and video → condition with CLIP ViT-L/14, as in the published model (SPEC §1.1)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from einops import rearrange, reduce
from PIL import Image
from tokenizers import Tokenizer
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

from ..errors import ConfigurationError
from ..media.image import normalise
from ..media.objects import Video
from ..modality import MODALITIES, Modality
from .clip_temporal import ClipTemporalBlock
from .condition import Condition, check_unconditional
from .encoder import PromptEncoder
from .tokenized import TokenizedPromptEncoder

# Mean and standard deviation of CLIP's training images, red, green, blue, of pixels in [0, 1].
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipTextPromptEncoder(TokenizedPromptEncoder):
    """CLIP's text tower and projection; the tokenizer is saved as ``tokenizer.json`` beside the weights.

    Args:
        vocab_size: tokens known; the last one ends a text and fills it up.
        hidden_size: width of the tower.
        intermediate_size: width of its feed-forward layers.
        num_hidden_layers: its layers.
        num_attention_heads: its attention heads.
        max_position_embeddings: texts are cut and filled up to this many tokens.
        projection_dim: D, width of the shared space.
        unconditional: ``"empty"``: the unconditional token is the embedding of "", as in the reference (SPEC §1.2);
            ``"zeros"``: it is zero.
    """

    @register_to_config
    def __init__(
        self,
        vocab_size: int = 49408,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        max_position_embeddings: int = 77,
        projection_dim: int = 768,
        unconditional: str = "empty",
    ):
        super().__init__()
        check_unconditional(unconditional)
        # eos_token_id 2 makes the library read the token of the largest id, which is how CLIP finds the end of a text.
        self.text = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=vocab_size,
                hidden_size=hidden_size,
                intermediate_size=intermediate_size,
                num_hidden_layers=num_hidden_layers,
                num_attention_heads=num_attention_heads,
                max_position_embeddings=max_position_embeddings,
                projection_dim=projection_dim,
                eos_token_id=2,
            )
        )
        self._tokenizer: Tokenizer | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """CLIP's byte-pair tokenizer.

        Raises:
            ConfigurationError: if none has been set yet, or when one is set that has more tokens than the tower knows.
        """
        if self._tokenizer is None:
            raise ConfigurationError("ClipTextPromptEncoder: has no tokenizer; load a saved one or set .tokenizer")
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer) -> None:
        size, known = tokenizer.get_vocab_size(), self.config.vocab_size
        if size != known:
            raise ConfigurationError(f"tokenizer: has {size} tokens, the CLIP text tower knows {known}")
        end = tokenizer.id_to_token(known - 1)
        tokenizer.enable_truncation(max_length=self.config.max_position_embeddings)
        # Attention is causal, so what follows the end of a text changes nothing.
        tokenizer.enable_padding(pad_id=known - 1, pad_token=end, length=self.config.max_position_embeddings)
        self._tokenizer = tokenizer

    def preprocess(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Texts → ``input_ids``, int64 [B, max_position_embeddings]."""
        return {"input_ids": torch.tensor([encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))])}

    def forward(self, input_ids: torch.Tensor) -> Condition:
        """``input_ids`` int64 [B, L], each row ending in (one or more of) its largest id → Condition [B, 1, D]."""
        return Condition.from_embedding(self.text(input_ids=input_ids).text_embeds)

    def unconditional(self, batch_size: int) -> Condition:
        """The condition [B, 1, D] of no text, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        return self.encode([""] * batch_size)


class ClipImagePromptEncoder(PromptEncoder):
    """CLIP's vision tower and projection.

    Args:
        image_size: height and width the tower sees, in pixels.
        patch_size: pixels per token and side.
        hidden_size: width of the tower.
        intermediate_size: width of its feed-forward layers.
        num_hidden_layers: its layers.
        num_attention_heads: its attention heads.
        projection_dim: D, width of the shared space.
        prepared_size: pictures are first scaled to this many pixels per side (the reference does; it softens a little).
        unconditional: ``"empty"``: the unconditional token is the embedding of mid grey, as in the reference
            (SPEC §1.2); ``"zeros"``: it is zero.
    """

    @register_to_config
    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 14,
        hidden_size: int = 1024,
        intermediate_size: int = 4096,
        num_hidden_layers: int = 24,
        num_attention_heads: int = 16,
        projection_dim: int = 768,
        prepared_size: int = 512,
        unconditional: str = "empty",
    ):
        super().__init__()
        check_unconditional(unconditional)
        self.vision = _vision_tower(self.config)

    def preprocess(self, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        """Pictures → ``pixel_values`` [B, 3, size, size] as CLIP wants them, from the centre square of each.

        The reference crops the square at random and mirrors half of the pictures (SPEC §1.1).
        """
        squares = [_centre_square(image, self.config.prepared_size) for image in images]
        return {"pixel_values": torch.stack([clip_pixel_values(square, self.config.image_size) for square in squares])}

    def forward(self, pixel_values: torch.Tensor) -> Condition:
        """``pixel_values`` [B, 3, size, size] with CLIP's mean and deviation → Condition [B, 1, D]."""
        return Condition.from_embedding(self.vision(pixel_values=pixel_values.to(self.dtype)).image_embeds)

    @torch.no_grad()
    def unconditional(self, batch_size: int) -> Condition:
        """The condition [B, 1, D] of having no picture, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        return self(_grey(self.config.image_size, self.device).expand(batch_size, -1, -1, -1))


class ClipVideoPromptEncoder(PromptEncoder):
    """CLIP's vision tower on every frame, with a temporal block in each of its layers.

    The tower (``vision``) has the names and the weights of ``ClipImagePromptEncoder``'s.

    Args:
        num_frames: F, frames taken from a clip; the reference always takes 4 (SPEC §7).
        clip_seconds: seconds in the middle of the clip that they are spread over; a shorter clip is taken whole.
        temporal_feed_forward_mult: width of the temporal feed-forward, as a multiple of ``hidden_size``.
        prepared_size: frames are first scaled to this many pixels per side, as in the reference.
        unconditional: ``"empty"``: the unconditional token is the embedding of a mid grey clip, as in the reference
            (SPEC §1.2); ``"zeros"``: it is zero.
        Others: as in ``ClipImagePromptEncoder``.
    """

    shared_weights: ClassVar = {"vision": (MODALITIES[Modality.IMAGE].prompt_encoder, "vision")}

    @register_to_config
    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 14,
        hidden_size: int = 1024,
        intermediate_size: int = 4096,
        num_hidden_layers: int = 24,
        num_attention_heads: int = 16,
        projection_dim: int = 768,
        num_frames: int = 4,
        clip_seconds: float = 4.0,
        temporal_feed_forward_mult: float = 8 / 3,
        prepared_size: int = 256,
        unconditional: str = "empty",
    ):
        super().__init__()
        check_unconditional(unconditional)
        self.vision = _vision_tower(self.config)
        self.temporal = nn.ModuleList(
            ClipTemporalBlock(hidden_size, num_attention_heads, temporal_feed_forward_mult)
            for _ in range(num_hidden_layers)
        )

    def preprocess(self, videos: Sequence[Video]) -> dict[str, torch.Tensor]:
        """Clips → ``pixel_values`` [B, 3, F, size, size] as CLIP wants them, from the centre square of F frames.

        The reference starts anywhere in the clip, at random (SPEC §7).
        """
        clips = []
        for video in videos:
            span = min(len(video.frames), max(1, round(self.config.clip_seconds * video.fps)))
            start = (len(video.frames) - span) // 2
            picks = start + np.arange(self.config.num_frames) * span // self.config.num_frames
            # Each frame is prepared once, however often a short clip shows it.
            shown, order = np.unique(picks, return_inverse=True)
            squares = [_centre_square(Image.fromarray(video.frames[i]), self.config.prepared_size) for i in shown]
            frames = torch.stack([clip_pixel_values(square, self.config.image_size) for square in squares])
            clips.append(frames[torch.from_numpy(order)].transpose(0, 1))
        return {"pixel_values": torch.stack(clips)}

    def hidden_states(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """``pixel_values`` [B, 3, F, size, size] → the tower's last tokens, mean over the frames, [B, N, width]."""
        num_frames = pixel_values.shape[2]
        tower = self.vision.vision_model
        frames = rearrange(pixel_values.to(self.dtype), "b c f h w -> (b f) c h w")
        hidden = tower.pre_layrnorm(tower.embeddings(frames))
        for layer, temporal in zip(tower.encoder.layers, self.temporal):
            hidden = hidden + layer.self_attn(layer.layer_norm1(hidden), attention_mask=None)[0]
            if num_frames > 1:  # the reference takes a clip of one frame for an image
                tokens = rearrange(hidden, "(b f) n c -> (b n) f c", f=num_frames)
                hidden = rearrange(temporal(tokens), "(b n) f c -> (b f) n c", n=hidden.shape[1])
            hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
        return reduce(hidden, "(b f) n c -> b n c", "mean", f=num_frames)

    def forward(self, pixel_values: torch.Tensor) -> Condition:
        """``pixel_values`` [B, 3, F, size, size] with CLIP's mean and deviation → Condition [B, 1, D]."""
        pooled = self.vision.vision_model.post_layernorm(self.hidden_states(pixel_values)[:, 0])
        return Condition.from_embedding(self.vision.visual_projection(pooled))

    @torch.no_grad()
    def unconditional(self, batch_size: int) -> Condition:
        """The condition [B, 1, D] of having no clip, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        grey = _grey(self.config.image_size, self.device).unsqueeze(2)
        return self(grey.expand(batch_size, -1, self.config.num_frames, -1, -1))


def clip_pixel_values(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """CLIP's own preparation: pixels [3, H, W] in [-1, 1] → [3, size, size] with CLIP's mean and deviation.

    As the reference's processor does it: back to bytes, cut off rather than rounded; the shorter side scaled with a
    bicubic filter; the centre cut out. The values are divided by 255 once (SPEC §1.1).
    """
    bytes_ = ((pixels.float() + 1) / 2 * 255).clamp(0, 255).to(torch.uint8)
    image = Image.fromarray(bytes_.movedim(0, -1).numpy())
    scale = size / min(image.size)
    width, height = (max(size, int(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    unit = torch.from_numpy(np.array(image.crop((left, top, left + size, top + size)))).movedim(-1, 0) / 255
    return (unit - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_STD).view(3, 1, 1)


def _centre_square(image: Image.Image, size: int) -> torch.Tensor:
    """The centre square of a picture, scaled with a bicubic filter → [3, size, size] in [-1, 1]."""
    image = normalise(image)
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).movedim(-1, 0) / 255 * 2 - 1


def _grey(size: int, device: torch.device) -> torch.Tensor:
    """What the reference gives CLIP for no picture: zeros in [-1, 1], [1, 3, size, size] prepared."""
    return clip_pixel_values(torch.zeros(3, size, size), size).unsqueeze(0).to(device)


def _vision_tower(config: Any) -> CLIPVisionModelWithProjection:
    names = ("image_size", "patch_size", "hidden_size", "intermediate_size")
    names += ("num_hidden_layers", "num_attention_heads", "projection_dim")
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**{name: config[name] for name in names}))
