"""What modalities see of one another while they are denoised together."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..denoisers import Context
from ..denoisers.alignment import Exchange, exchanged
from .trajectory import Trajectory


class Partners:
    """The environment tokens of everything that is being made or is finished.

    Args:
        denoisers: a denoiser per modality.
        trajectories: what is being made.
        given: finished latents [B, ...] of other modalities.
        exchange: see ``opencodi.denoisers.exchanged``.
        joint: whether modalities see one another; None: if there are several.
    """

    def __init__(
        self,
        denoisers: Mapping[str, Any],
        trajectories: Mapping[str, Trajectory],
        given: Mapping[str, Tensor],
        exchange: Exchange,
        joint: bool | None = None,
    ):
        self.denoisers, self.trajectories, self.given, self.exchange = denoisers, trajectories, given, exchange
        self.joint = len(trajectories) + len(given) > 1 if joint is None else joint
        self._tokens: dict[str, tuple[Tensor, Tensor]] = {}  # modality → (latents, their tokens)

    def seen(self) -> dict[str, Context | None]:
        """What each modality that is being made attends to now; None for one that attends to nothing."""
        if not self.joint:
            return dict.fromkeys(self.trajectories)
        latents = {**self.given, **{m: trajectory.latents for m, trajectory in self.trajectories.items()}}
        tokens = {m: self.environment(m) for m in latents}
        seconds = {m: self.denoisers[m].environment_seconds(x) for m, x in latents.items()}
        return exchanged(tokens, self.exchange, seconds, listeners=self.trajectories)

    def environment(self, modality: str) -> Tensor:
        """Environment tokens [B, n, E] of a modality, computed anew only when its latents changed."""
        latents = self.trajectories[modality].latents if modality in self.trajectories else self.given[modality]
        known = self._tokens.get(modality)
        if known is None or known[0] is not latents:
            trajectory = self.trajectories.get(modality)
            zeros = torch.zeros(len(latents), dtype=torch.long, device=latents.device)
            now = (latents, zeros) if trajectory is None else trajectory.current()
            self._tokens[modality] = latents, self.denoisers[modality].environment(*now)
        return self._tokens[modality][1]
