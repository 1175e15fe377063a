"""A denoiser together with its adapters: what the sampler and training call."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..errors import ConfigurationError
from .adapter import Adapter, Call, adapted
from .alignment import AlignmentAdapter
from .context import Context
from .evidence import Evidence, EvidenceEncoder
from .temporal import TemporalAdapter

Forward = Callable[[nn.Module, Tensor, Tensor, Context], Tensor]
"""(network, noisy latents, timesteps [B], prompt) → prediction."""


class ComposedDenoiser(nn.Module):
    """A denoiser with what it needs beyond its own task: time, the other modalities, and extras.

    The adapters are attached for the time of a call only, so several composed denoisers may share a network, also in
    several threads.

    Args:
        denoiser: a ``UNet``, a ``FlatUNet`` or, with ``forward``, any other network.
        temporal: for videos; without it a sample [B, C, F, H, W] is refused.
        alignment: for joint generation; without it there is no ``environment``.
        extras: further adapters, such as ``opencodi.extras.prompt_map.PromptMap``.
        forward: how a network that is not ours is called; ours take ``(sample, timesteps, prompt)``.
        evidence: reads its noisy latents; without it there is no ``evidence``.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        temporal: TemporalAdapter | None = None,
        alignment: AlignmentAdapter | None = None,
        extras: Sequence[Adapter] = (),
        forward: Forward | None = None,
        evidence: EvidenceEncoder | None = None,
    ):
        super().__init__()
        self.denoiser, self.temporal, self.alignment = denoiser, temporal, alignment
        self.extras = nn.ModuleList(extras)
        self._forward = forward
        self.evidence_encoder = evidence

    def context(
        self, tokens: Tensor, mask: Tensor | None = None, attributes: Mapping[str, Tensor] | None = None
    ) -> Context:
        """Prompt tokens [B, N, D], mask [B, N] and attributes as a prompt for call after call; see ``Denoiser.context``."""
        if hasattr(self.denoiser, "context"):
            return self.denoiser.context(tokens, mask, attributes)
        return Context(tokens, mask, attributes=attributes)

    def forward(
        self,
        sample: Tensor,
        timesteps: Tensor,
        prompt: Context | Tensor,
        environment: Context | Tensor | None = None,
    ) -> Tensor:
        """Predict the scheduler's target (noise, velocity or flow) from a noisy latent.

        Args:
            sample: image [B, C, H, W], video [B, C, F, H, W], audio [B, C, T, M], text [B, D], or what the network takes.
            timesteps: [B], whole or fractional.
            prompt: from ``context``, or tokens [B, N, D].
            environment: what the alignment sub-layers attend to, from ``exchanged``, or tokens [B, n, E]; None: no partners.

        Returns:
            Tensor of the shape of ``sample``.

        Raises:
            ConfigurationError: if an adapter is missing that this call needs.
            ArgumentError: if a clip has more frames than the temporal adapter knows.
        """
        if isinstance(prompt, Tensor):
            prompt = self.context(prompt.to(sample.dtype))
        if isinstance(environment, Tensor):
            environment = Context(environment)
        if environment is not None and self.alignment is None:
            raise ConfigurationError(
                "alignment: this denoiser has no alignment adapter, so it cannot see other outputs"
            )
        duration, num_frames = self.duration(sample), None
        if sample.ndim == 5:
            sample, timesteps, num_frames = self._folded(sample, timesteps)
            prompt = prompt.repeated(num_frames)
            environment = None if environment is None else environment.repeated(num_frames)
        adapters = [*([] if num_frames is None else [self.temporal]), *self.extras]
        if environment is not None:
            adapters.append(self.alignment)
        with adapted(self.denoiser, Call(tuple(adapters), prompt, environment, num_frames, duration)):
            predict = self._forward or type(self.denoiser).__call__
            x = predict(self.denoiser, sample, timesteps, prompt)
        return x if num_frames is None else x.unflatten(0, (-1, num_frames)).transpose(1, 2)

    def _folded(self, sample: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor, int]:
        """(frames in the batch, a timestep for each, frames of each clip)."""
        if self.temporal is None:
            raise ConfigurationError(
                "temporal: this denoiser has no temporal adapter, so it makes images and no videos"
            )
        num_frames = sample.shape[2]
        return self.temporal.fold(sample), timesteps.repeat_interleave(num_frames), num_frames

    def with_extra(self, adapter: Adapter) -> Self:
        """The same with one more adapter; the networks are shared."""
        extras = [*self.extras, adapter]
        return type(self)(self.denoiser, self.temporal, self.alignment, extras, self._forward, self.evidence_encoder)

    # ------------------------------------------------------------------ what the others see

    def environment(self, sample: Tensor, timesteps: Tensor) -> Tensor:
        """What the other modalities see of this noisy latent: tokens [B, n, E]; see ``AlignmentAdapter.environment``."""
        return self._aligned().environment(sample, timesteps, self.duration(sample))

    def environment_seconds(self, sample: Tensor) -> Tensor:
        """When in the sample each token of ``environment`` is, in seconds [n]; NaN if it is about all of it."""
        return self._aligned().environment_seconds(sample, self.duration(sample))

    def num_environment_tokens(self, sample: Tensor) -> int:
        """How many tokens ``environment`` gives for this sample."""
        return self._aligned().num_environment_tokens(sample, self.duration(sample))

    def evidence(self, sample: Tensor, timesteps: Tensor) -> Evidence:
        """What these noisy latents [B, ...] at timesteps [B] say about what is being made.

        Raises:
            ConfigurationError: if nothing reads them.
        """
        if self.evidence_encoder is None:
            raise ConfigurationError(
                "evidence: this denoiser has no evidence encoder; train one, or leave evidence out"
            )
        return self.evidence_encoder.evidence(sample, timesteps)

    def shown(self, evidence: Evidence) -> Evidence:
        """What other modalities are shown of one's own evidence: all of it. (A control shows them that of another sample.)"""
        return evidence

    def duration(self, sample: Tensor) -> float | None:
        """Seconds that a latent covers, if an adapter knows how time passes in it; else None."""
        knows = self.temporal if sample.ndim == 5 else self.alignment
        return None if knows is None else knows.duration(sample)

    def _aligned(self) -> AlignmentAdapter:
        if self.alignment is None:
            raise ConfigurationError(
                "alignment: this denoiser has no alignment adapter and cannot take part in joint runs"
            )
        return self.alignment

    # ------------------------------------------------------------------ what it is made of

    @property
    def config(self) -> Any:
        """The config of the denoiser."""
        return self.denoiser.config

    @property
    def shared_frame_noise(self) -> float:
        """Share of the variance of noise that the frames of a clip have in common."""
        return 0.0 if self.temporal is None else self.temporal.config.shared_frame_noise

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the denoiser."""
        return self.denoiser.dtype

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return self.denoiser.device
