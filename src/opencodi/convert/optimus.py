"""Published Optimus → our text autoencoder (SPEC §4, §9). Keys are relative to ``optimus.``."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import ConfigurationError
from .strict import fit, published_keys

_HEAD, _TOKENS = "decoder.lm_head.weight", "decoder.transformer.wte.weight"

DROPPED = {
    r"decoder\.lm_head\.weight": "the token embedding again: it is tied",
    r"decoder\.transformer\.h\.\d+\.attn\.bias": "causal mask; attention makes its own",
}

_RULES = [
    (r"^to_moments\.", "encoder.linear."),
    (r"^decoder\.", "decoder.transformer."),
    (r"^latent_to_memory\.", "decoder.transformer.linear."),
    (r"^latent_to_embedding\.", "decoder.transformer.linear_emb."),
]


def convert_optimus(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The state dict for a ``TextAutoencoder``; arguments and errors as of ``strict.fit``.

    Raises:
        ConfigurationError: also if the output layer is not the token embedding, which it is tied to.
    """
    fitted = fit(state, net, published_keys(net.state_dict(), _RULES), DROPPED)
    if _HEAD in state and not state[_HEAD].is_meta and not torch.equal(state[_HEAD], state[_TOKENS]):
        raise ConfigurationError(f"{_HEAD}: differs from {_TOKENS}, but here the two are one; the file is no Optimus")
    return fitted
