"""Joint denoising by evidence: what all noisy latents and the prompt say adds up, and reaches every output by two ways.

The first token of the prompt is moved to the posterior mean (the way that denoisers follow best), and the alignment sub-layers
attend to the sum, to what was read of single things, and to when something happens.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..denoisers import CaptionBank, Context, Evidence
from ..denoisers.clock import centres
from ..denoisers.evidence import as_tokens, summed_beats
from ..prompts import Condition
from .trajectory import Trajectory

SETTLED = 1e-3
"""A prompt that changes by less stays as it is, with all that denoisers computed from it."""


class EvidenceExchange:
    """Takes the place of ``Partners`` where every output has an evidence encoder.

    Args:
        denoisers: a ``ComposedDenoiser`` with evidence per modality.
        trajectories: what is being made.
        condition: the mixed prompt, tokens [B, N, D].
        bank: under which evidence becomes a prompt.
    """

    def __init__(
        self,
        denoisers: Mapping[str, Any],
        trajectories: Mapping[str, Trajectory],
        condition: Condition,
        bank: CaptionBank,
    ):
        self.denoisers, self.trajectories, self.bank = denoisers, trajectories, bank
        self.condition = condition
        self._prompts: dict[str, Condition] = dict.fromkeys(trajectories, condition)
        self._known: dict[str, tuple[Tensor, Evidence]] = {}  # modality → (latents, what they say)

    def prompts(self, *_: Any) -> Mapping[str, Condition]:
        """The prompt of each output at this tick; asked once before each, see ``sample``."""
        asked = self.condition.tokens[:, 0]
        for listener, before in self._prompts.items():
            now = self.bank.mixture(asked, self._total(self._heard(listener))).to(asked.dtype)
            if (now - before.tokens[:, 0]).abs().max() > SETTLED:
                tokens = torch.cat([now[:, None], self.condition.tokens[:, 1:]], dim=1)
                self._prompts[listener] = replace(self.condition, tokens=tokens)
        return self._prompts

    def seen(self) -> dict[str, Context | None]:
        """What the alignment sub-layers of each output attend to now; None for one that has none."""
        return {
            m: None if self.denoisers[m].alignment is None else self._context(m, trajectory)
            for m, trajectory in self.trajectories.items()
        }

    def _context(self, listener: str, trajectory: Trajectory) -> Context:
        asked = self.bank.as_evidence(self.condition.tokens[:, 0])
        latents = trajectory.latents
        return evidence_context(self._heard(listener), asked, self.denoisers[listener].duration(latents), latents.dtype)

    def _heard(self, listener: str) -> list[Evidence]:
        """One's own evidence as it is, and what the others show of theirs."""
        return [self._read(m) if m == listener else self.denoisers[m].shown(self._read(m)) for m in self.trajectories]

    def _total(self, heard: list[Evidence]) -> Tensor:
        return sum(each.content[:, 0] for each in heard)

    def _read(self, modality: str) -> Evidence:
        latents = self.trajectories[modality].latents
        known = self._known.get(modality)
        if known is None or known[0] is not latents:
            self._known[modality] = latents, self.denoisers[modality].evidence(*self.trajectories[modality].current())
        return self._known[modality][1]


def evidence_context(
    heard: list[Evidence], asked: Tensor, duration: float | None, dtype: torch.dtype = torch.float32
) -> Context:
    """What alignment sub-layers attend to: tokens [B, 1 + things + beats, D].

    Args:
        heard: evidence of all outputs, one's own included.
        asked: the prompt as evidence [B, D].
        duration: seconds that the listener's latent covers; None: it has no time, and beats are left out.
        dtype: of its latents.
    """
    total = asked + sum(each.content[:, 0] for each in heard)
    things = torch.cat([each.content[:, 1:] for each in heard], dim=1)
    beats = None if duration is None else summed_beats(heard)
    seconds = None
    if beats is not None:
        timeless = torch.full((1 + things.shape[1],), torch.nan, device=total.device)
        seconds = torch.cat([timeless, centres(duration, beats.shape[1], total.device)])
    return Context(as_tokens(total, things, beats).to(dtype), seconds=seconds)
