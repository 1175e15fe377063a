"""Prompts that are not only text, drawn towards the texts that are near them: text is the bridge when prompts are used, too."""

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from .condition import Condition


class PromptAnchors(ModelMixin, ConfigMixin):
    """Embeddings of texts that a picture, clip or sound may mean.

    Contrastive alignment orders the pairs and leaves each modality a region of its own (Liang et al. 2022): the embedding of a
    sound lies nearest to its own name, and yet far from every text. A denoiser that learned from texts and pictures then
    meets a prompt unlike all it knows. One step of attention over texts (a modern Hopfield network, Ramsauer et al. 2021)
    moves the embedding to where its texts are. So does it with a mixture, which else is unlike any single prompt.

    Args:
        num_anchors: K, texts.
        embedding_dim: D, of the shared space.
        scale: inverse temperature of the attention on cosines; the larger, the more the nearest text counts alone.
        share: of the result that is the texts', in [0, 1]; the rest stays what it was and keeps what no text says.
        text_share: the same for prompts that are text alone: words that no denoiser learned ("puppy") mean the nearest it
            did. 0 leaves them where they are.
    """

    @register_to_config
    def __init__(
        self, num_anchors: int, embedding_dim: int, scale: float = 60.0, share: float = 0.5, text_share: float = 0.0
    ):
        super().__init__()
        self.anchors = nn.Parameter(torch.zeros(num_anchors, embedding_dim), requires_grad=False)

    @classmethod
    def from_embeddings(cls, embeddings: torch.Tensor, **config: float) -> "PromptAnchors":
        """Anchors at L2-normalised text embeddings [K, D]; the rest as for the class."""
        made = cls(*embeddings.shape, **config)
        made.anchors.data = embeddings.detach().float().clone()
        return made

    def forward(self, condition: Condition, only_text: bool = False) -> Condition:
        """Move the aligned embedding ``tokens[:, 0]`` of each prompt; further tokens stay. ``only_text``: by ``text_share``."""
        share = self.config.text_share if only_text else self.config.share
        if not share:
            return condition
        first, rest = condition.tokens[:, :1], condition.tokens[:, 1:]
        return Condition(torch.cat([self.move(first, share), rest], dim=1), condition.mask)

    def move(self, embeddings: torch.Tensor, share: float | None = None) -> torch.Tensor:
        """Move embeddings [..., D], which become of length 1 first, by ``share`` (the config's); zeros (no prompt) stay."""
        share = self.config.share if share is None else share
        exact, anchors = F.normalize(embeddings.float(), dim=-1), self.anchors.float().to(embeddings.device)
        texts = F.normalize((self.config.scale * exact @ anchors.T).softmax(-1) @ anchors, dim=-1)
        moved = F.normalize((1 - share) * exact + share * texts, dim=-1)
        return torch.where(exact.norm(dim=-1, keepdim=True) > 0, moved, exact).to(embeddings.dtype)
