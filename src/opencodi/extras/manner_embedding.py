"""Style and motion attributes of a prompt, added to a denoiser's time embedding as class embeddings are."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..denoisers.adapter import Adapter, Call, Hook
from ..denoisers.blocks import zero_init
from ..modality import Modality
from .base import AdapterExtra
from .manner import MANNER


class MannerEmbedding(Adapter):
    """A linear layer from style and motion attributes [B, M] to the time embedding. It starts at zero, without bias.

    Args:
        manner_dim: M.
        time_embedding_dim: width of the denoiser's time embedding.
        block_name: module that makes the time embedding.
    """

    first = True  # whatever else reads the time embedding reads it with this

    @register_to_config
    def __init__(self, manner_dim: int = 16, time_embedding_dim: int = 512, block_name: str = "time_embedding"):
        super().__init__()
        # Without bias: of no attributes, and of zeros, nothing is added.
        self.linear = zero_init(nn.Linear(manner_dim, time_embedding_dim, bias=False))

    @classmethod
    def for_denoiser(cls, config: Mapping[str, Any], **values: Any) -> Self:
        """A new embedding, which adds nothing yet, for a ``UNet`` or ``FlatUNet`` of this config."""
        width = config["time_embedding_dim"] or 4 * config["model_channels"]
        return cls(**{"time_embedding_dim": width, **values})

    def hooks(self) -> dict[str, Hook]:
        """Added to the time embedding."""
        return {self.config.block_name: self._after}

    def _after(self, time_embedding: Tensor, call: Call) -> Tensor:
        manner = call.prompt.attributes.get(MANNER)
        if manner is None:
            return time_embedding
        return time_embedding + call.prompt.constant(self, lambda _: self(manner))

    def forward(self, manner: Tensor) -> Tensor:
        """``manner`` [B, M] -> [B, time_embedding_dim]."""
        return self.linear(manner)


class MannerEmbeddings(AdapterExtra):
    """Attaches the manner embedding of each denoiser."""

    adapter_of: ClassVar = {
        Modality.IMAGE: "image_manner_embedding",
        Modality.VIDEO: "image_manner_embedding",
        Modality.AUDIO: "audio_manner_embedding",
    }
    adapters = tuple(dict.fromkeys(adapter_of.values()))
