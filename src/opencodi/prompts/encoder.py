"""What all prompt encoders have in common."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from torch import nn

from .condition import Condition


class PromptEncoder(ModelMixin, ConfigMixin):
    """Media objects → condition: a subclass's ``preprocess`` makes tensors of them, its ``forward`` a condition of these."""

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


def bring(network: nn.Module) -> None:
    """Let an offloaded network come to its device, as calling it would: for parts of it that are called by themselves."""
    hook = getattr(network, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward(network)
