"""What all prompt encoders have in common."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import ConfigMixin, ModelMixin

from .condition import Condition


class PromptEncoder(ModelMixin, ConfigMixin):
    """Media objects → condition: a subclass's ``preprocess`` makes tensors of them, its ``forward`` a condition of these."""

    shared_weights: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Sub-module → (part of a model, its sub-module) that usually has the same weights, see ``loading.LazyPipeline``."""

    @property
    def device(self) -> torch.device:
        """Where it computes, which the weights cannot tell while they are offloaded."""
        hooks = (getattr(module, "_hf_hook", None) for module in self.modules())
        places = [place for hook in hooks if (place := getattr(hook, "execution_device", None)) is not None]
        return torch.device(places[0]) if places else super().device

    @torch.no_grad()
    def encode(self, items: Sequence[Any]) -> Condition:
        """Media objects of its modality → Condition [B, 1, D]."""
        return self(**{name: tensor.to(self.device) for name, tensor in self.preprocess(items).items()})

    def read(self, items: Sequence[Any]) -> tuple[Condition, torch.Tensor | None]:
        """The condition of media objects, and what the encoder saw in them before it projected it, [B, F], if it tells."""
        return self.encode(items), None
