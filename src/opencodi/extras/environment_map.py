"""The environment map: what the other modalities say about places."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..denoisers import ComposedDenoiser
from ..denoisers.adapter import Adapter, Call, Hook, change_where_seen
from ..denoisers.blocks import zero_init
from ..denoisers.context import Context
from ..errors import ConfigurationError
from ..modality import Modality
from ..sampling.request import Call as ModelCall
from .base import AdapterExtra
from .manner import MANNER
from .prompt_map import PromptMap, entry_layer, first_features

TIME_EMBEDDING = "time embedding"
"""Where the call under way notes the denoiser's time embedding."""


class EnvironmentMap(Adapter):
    """The prompt map drawn for the environment tokens of the other modalities.

    Environment tokens learn to lie where the prompt of what they show lies (training stage ``alignment``), so the map that
    knows what each prompt looks like serves them, too. How much they count depends on the timestep: early tokens know
    little. The entry is zeroed, so that it changes nothing until trained.

    It draws with the ``PromptMap`` that takes part in the same call.

    Args:
        in_channels: channels of a latent.
        size: positions [height, width] of the prompt map; empty for vectors. Only whether it is empty matters here.
        features: width of the denoiser's first features.
        time_embedding_dim: width of the denoiser's time embedding.
        context_scale: factor on tokens before they are drawn, as the denoiser has on prompt tokens.
        block_name: module of the denoiser to whose output it is added.
        time_name: module that makes the time embedding.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        size: tuple[int, ...] = (8, 8),
        features: int = 128,
        time_embedding_dim: int = 512,
        context_scale: float = 1.0,
        block_name: str = "conv_in",
        time_name: str = "time_embedding",
    ):
        super().__init__()
        self.entry = zero_init(entry_layer(in_channels, features, size))
        self.gate = zero_init(nn.Linear(time_embedding_dim, features))

    @classmethod
    def for_denoiser(cls, config: Mapping[str, Any], **values: Any) -> Self:
        """A new map, which changes nothing yet, for a ``UNet`` or ``FlatUNet`` of this config."""
        width = config["time_embedding_dim"] or 4 * config["model_channels"]
        own = {"time_embedding_dim": width, "context_scale": config["context_scale"]}
        return cls(**{**first_features(config), **own, **values})

    def hooks(self) -> dict[str, Hook]:
        """Added to the denoiser's first features, weighed by its time embedding."""
        return {self.config.time_name: self._note, self.config.block_name: self._after}

    def _note(self, time_embedding: Tensor, call: Call) -> Tensor:
        call.memo[TIME_EMBEDDING] = time_embedding
        return time_embedding

    def _after(self, x: Tensor, call: Call) -> Tensor:
        if call.environment is None:
            return x
        prompt_map = next((each for each in call.adapters if isinstance(each, PromptMap)), None)
        if prompt_map is None:
            raise ConfigurationError("EnvironmentMap: draws with the prompt map, which this denoiser lacks; add it")
        environment, places = call.environment.selected()
        size, time_embedding = tuple(x.shape[2:]), call.memo[TIME_EMBEDDING]
        manner = call.prompt.attributes.get(MANNER)
        if places is not None:
            time_embedding = time_embedding[places]
            manner = None if manner is None else manner[call.environment.rows]
        seen = environment.constant((self, size), lambda _: self.draw(prompt_map, environment, size, manner))
        return change_where_seen(x, places, lambda part: part + self(seen, time_embedding))

    def draw(
        self, prompt_map: PromptMap, environment: Context, size: tuple[int, ...], manner: Tensor | None = None
    ) -> Tensor:
        """What the mean of the tokens [B, n, E] looks like: features [B, features, *size]."""
        return self(prompt_map(environment.mean() * self.config.context_scale, size, manner, entered=False))

    def forward(self, x: Tensor, time_embedding: Tensor | None = None) -> Tensor:
        """A map [B, channels, *size] -> features; with ``time_embedding`` [B, dim], features weighed for it."""
        if time_embedding is None:
            return self.entry(x)
        gate = 1 + self.gate(F.silu(time_embedding))
        return x * gate.unflatten(1, (-1, *[1] * (x.ndim - 2)))


class EnvironmentMaps(AdapterExtra):
    """Attaches the environment map of each denoiser that sees others and has a prompt map."""

    adapter_of: ClassVar = {
        Modality.TEXT: "text_environment_map",
        Modality.IMAGE: "image_environment_map",
        Modality.VIDEO: "image_environment_map",
        Modality.AUDIO: "audio_environment_map",
    }
    adapters = tuple(dict.fromkeys(adapter_of.values()))

    def denoiser(self, denoiser: ComposedDenoiser, modality: str, call: ModelCall) -> ComposedDenoiser:
        """The denoiser with its environment map, if it can use one."""
        drawn = any(isinstance(each, PromptMap) for each in denoiser.extras)
        return super().denoiser(denoiser, modality, call) if drawn and denoiser.alignment is not None else denoiser
