"""Published-looking checkpoint files of the reduced networks, and tokenizers that fit them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor

from tests.denoisers.reference import ALIGNMENT, TEMPORAL, reference_state
from tests.denoisers.reference import CONFIGS as DENOISERS
from tests.published import AUDIOLDM, AUTOKL, CLAP, CLIP_TEMPORAL, CLIP_TEXT, CLIP_VISION, OPTIMUS, VOCODER, weights

CONFIGS: dict[str, dict[str, Any]] = {
    "text_prompt_encoder": CLIP_TEXT,
    "image_prompt_encoder": CLIP_VISION,
    "video_prompt_encoder": CLIP_TEMPORAL,
    "audio_prompt_encoder": {**CLAP, "projection_dim": 48},
    "text_autoencoder": {**OPTIMUS, "latent_dim": 24, "bos_token_id": 498, "sample_length": 6},
    "image_autoencoder": {**AUTOKL, "sample_size": 64, "sample_frames": 2},
    "audio_autoencoder": {**AUDIOLDM, "sample_seconds": 0.32},
    "audio_vocoder": VOCODER,
    **{f"{name}_denoiser": {**config, "skip": "aliased"} for name, (_, config) in DENOISERS.items()},
    **{f"{name}_alignment": config for name, config in ALIGNMENT.items()},
    "video_temporal": TEMPORAL,
}


def clip() -> dict[str, Tensor]:
    return weights("clip_small")


def clap() -> dict[str, Tensor]:
    """As stored, with 48 outputs instead of 32: the width of the others' shared space."""
    state = weights("clap_small")
    for name in ("model.audio_projection.0", "model.audio_projection.2"):
        state[f"{name}.weight"] = torch.cat([state[f"{name}.weight"]] * 2)[:48]
        state[f"{name}.bias"] = torch.cat([state[f"{name}.bias"]] * 2)[:48]
    weight = state["model.audio_projection.2.weight"]
    state["model.audio_projection.2.weight"] = torch.cat([weight, weight], dim=1)[:, :48]
    return state


def optimus() -> dict[str, Tensor]:
    """As stored, with 24 latents instead of 48, as many as the text denoiser's, and with the tied layer."""
    state = weights("optimus_small")
    state["encoder.linear.weight"] = state["encoder.linear.weight"][:48]
    for name in ("linear", "linear_emb"):
        state[f"decoder.transformer.{name}.weight"] = state[f"decoder.transformer.{name}.weight"][:, :24]
    state["decoder.lm_head.weight"] = state["decoder.transformer.wte.weight"]
    state["decoder.transformer.h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
    return state


@cache
def published_state() -> dict[str, dict[str, Tensor]]:
    """File name → its tensors, with the keys of the published files (SPEC §6)."""
    encoders = {
        **{f"clip.model.{key}": tensor for key, tensor in clip().items()},
        **{f"clap.{key}": tensor for key, tensor in clap().items()},
        **{f"autokl.{key}": tensor for key, tensor in weights("autokl_small").items()},
        **{f"audioldm.{key}": tensor for key, tensor in weights("audioldm_small").items()},
        **{f"optimus.{key}": tensor for key, tensor in optimus().items()},
        "audioldm.fn_STFT.mel_basis": torch.zeros(64, 513),
        # Made at the first forward of the reference, so they may be there.
        "clap.model.audio_branch.logmel_extractor.melW": torch.zeros(513, 64),
        "clap.model.audio_branch.layers.0.blocks.0.attn.relative_position_index": torch.zeros(64, 64).long(),
    }
    files = {"CoDi_encoders.pth": encoders}
    for name, file in (
        ("text", "CoDi_text_diffuser.pth"),
        ("audio", "CoDi_audio_diffuser_m.pth"),
        ("image", "CoDi_video_diffuser_8frames.pth"),
    ):
        prefix = f"model.diffusion_model.unet_{name}."
        state = reference_state(name)
        files[file] = {"betas": torch.zeros(1000), **{f"{prefix}{key}": tensor for key, tensor in state.items()}}
    return files


def write_checkpoints(folder: Path, **only: Any) -> Path:
    """The four files, or those named as ``only``'s keys (``encoders=True``), in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, state in published_state().items():
        if not only or any(part in name for part in only):
            torch.save(state, folder / name)
    return folder


def write_tokenizers(folder: Path) -> dict[str, str]:
    """Tokenizers of the reduced vocabularies, as folders of the files their originals come as."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    clip = [*letters, *(f"{letter}</w>" for letter in letters)]
    clip += [f"[{i}]" for i in range(398 - len(clip))] + ["<|startoftext|>", "<|endoftext|>"]
    gpt2 = sorted(ByteLevel.alphabet())
    gpt2 += [f"[{i}]" for i in range(496 - len(gpt2))] + ["<|endoftext|>"]
    for name, vocabulary in (("clip", clip), ("gpt2", gpt2)):
        (folder / name).mkdir(parents=True)
        (folder / name / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
        (folder / name / "merges.txt").write_text("#version: 0.2\n")
    bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "bert").mkdir()
    (folder / "bert" / "vocab.txt").write_text("\n".join([*bert, *(f"[{i}]" for i in range(500 - len(bert)))]))
    return {name: str(folder / name) for name in ("clip", "bert", "gpt2")}
