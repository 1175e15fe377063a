"""The published checkpoint files → a model folder that ``AnyToAnyPipeline`` loads (SPEC §6)."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from accelerate import init_empty_weights
from diffusers import DDIMScheduler
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from ..denoisers import AlignmentAdapter, FlatUNet, TemporalAdapter, UNet
from ..errors import ArgumentError, ConfigurationError
from ..latents import AudioAutoencoder, ImageAutoencoder, TextAutoencoder
from ..latents.optimus_tokenizer import OptimusTokenizer
from ..models import INDEX
from ..prompts import ClapAudioPromptEncoder, ClipImagePromptEncoder, ClipTextPromptEncoder, ClipVideoPromptEncoder
from . import autoencoders, clap, clip, codi_unet, optimus, published
from .checkpoints import find_checkpoints, read_keys, read_tensors
from .codi_unet import convert_unet
from .strict import why_dropped
from .tokenizers import load_clip_tokenizer, load_optimus_tokenizer

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
RECORD = "conversion.json"
"""What has been converted so far, and how; beside ``model_index.json``."""

_SHARD_SIZE = "2GB"


@dataclass(frozen=True)
class Part:
    """Where one component comes from.

    Attributes:
        prefix: its keys begin with this.
        build: config values → network.
        convert: published tensors and network → state dict.
        dropped: see ``strict.fit``.
    """

    prefix: str
    build: Callable[..., nn.Module]
    convert: Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]
    dropped: Mapping[str, str]


def _vocoder(**config: Any) -> SpeechT5HifiGan:
    return SpeechT5HifiGan(SpeechT5HifiGanConfig(**config))


PARTS: dict[str, Part] = {
    "text_prompt_encoder": Part("clip.model.", ClipTextPromptEncoder, clip.convert_clip_text, clip.DROPPED_TEXT),
    "image_prompt_encoder": Part("clip.model.", ClipImagePromptEncoder, clip.convert_clip_image, clip.DROPPED_IMAGE),
    "video_prompt_encoder": Part("clip.model.", ClipVideoPromptEncoder, clip.convert_clip_video, clip.DROPPED_VIDEO),
    "audio_prompt_encoder": Part("clap.", ClapAudioPromptEncoder, clap.convert_clap, clap.DROPPED),
    "text_autoencoder": Part("optimus.", TextAutoencoder, optimus.convert_optimus, optimus.DROPPED),
    "image_autoencoder": Part(
        "autokl.", ImageAutoencoder, autoencoders.convert_image_autoencoder, autoencoders.DROPPED_IMAGE
    ),
    "audio_autoencoder": Part(
        "audioldm.", AudioAutoencoder, autoencoders.convert_audio_autoencoder, autoencoders.DROPPED_AUDIO
    ),
    "audio_vocoder": Part("audioldm.vocoder.", _vocoder, autoencoders.convert_vocoder, autoencoders.DROPPED_VOCODER),
    "text_denoiser": Part("model.diffusion_model.unet_text.", FlatUNet, convert_unet, codi_unet.DROPPED_DENOISER),
    "image_denoiser": Part("model.diffusion_model.unet_image.", UNet, convert_unet, codi_unet.DROPPED_DENOISER),
    "audio_denoiser": Part("model.diffusion_model.unet_audio.", UNet, convert_unet, codi_unet.DROPPED_DENOISER),
    "video_temporal": Part(
        "model.diffusion_model.unet_image.", TemporalAdapter, convert_unet, codi_unet.DROPPED_TEMPORAL
    ),
    **{
        f"{name}_alignment": Part(
            f"model.diffusion_model.unet_{name}.", AlignmentAdapter, convert_unet, codi_unet.DROPPED_ALIGNMENT
        )
        for name in ("text", "image", "audio")
    },
}
"""Component → where it comes from; a denoiser before its adapters, which have the same keys to choose from."""


def convert_codi(
    checkpoints: Path | str,
    output: Path | str,
    *,
    dtype: str = "float16",
    exchange: str = "others",
    tokenizers: Mapping[str, str | Path] = published.TOKENIZERS,
    configs: Mapping[str, Mapping[str, Any]] = published.CONFIGS,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Convert the published files, or some of them, into a model folder.

    One component is in memory at a time. A component appears complete or not at all, and ``model_index.json`` last; a
    run that was stopped goes on when it is started again.

    Args:
        checkpoints: folder of the files, or one file.
        output: the model folder, new or of a conversion to go on with.
        dtype: float16, bfloat16 or float32.
        exchange: ``"others"``: jointly generated modalities attend to one another, as the paper says; ``"self"``: each to
            itself, as the published code does (SPEC §0.1). The aliased skip of the published weights stays either way.
        tokenizers: for ``"clip"``, ``"bert"`` and ``"gpt2"`` a folder or a name on the Hugging Face hub.
        configs: component → config values of its class; the published sizes by default.
        progress: called before each component with its name, how many are done, and how many there are.

    Returns:
        The record of the conversion: dtype and, for each component, its number of parameters and the keys that were
        dropped, counted by reason.

    Raises:
        ArgumentError: if ``dtype`` or ``exchange`` is unknown, or ``output`` cannot be a folder.
        ConfigurationError: if a file is damaged, a key is missing, unknown, twice there or wrongly shaped, a tokenizer
            is not to be had, a component cannot be written, or ``output`` was begun with other settings.
    """
    if dtype not in DTYPES:
        raise ArgumentError(f"dtype: {dtype!r} is not one of {', '.join(DTYPES)}")
    if exchange not in ("others", "self"):
        raise ArgumentError(f"exchange: {exchange!r} is not one of others, self")
    files = find_checkpoints(Path(checkpoints))
    names = _plan(files)
    output = Path(output)
    record = _begin(output, dtype)
    todo = [name for name in names if not (name in record["components"] and (output / name).is_dir())]
    # Asked for now, so that a missing tokenizer is not found out after an hour.
    loaded = _load_tokenizers(todo, tokenizers, configs)
    for name in todo:
        if progress:
            progress(name, len(record["components"]), len(record["components"]) + len(todo) - todo.index(name))
        try:
            entry = _convert(name, files, output, DTYPES[dtype], configs[name], loaded.get(name))
        except (OSError, SafetensorError) as error:
            raise ConfigurationError(
                f"{output / name}: cannot be written ({error}); make room and start again"
            ) from error
        record["components"][name] = entry
        _write_json(output / RECORD, record)
    present = [name for name in PARTS if name in record["components"]]
    _write_scheduler(output)
    _write_json(output / INDEX, _index(present, exchange))
    return record


def _plan(files: Sequence[Path]) -> list[str]:
    """The components whose keys are in the files; every key belongs to one or is dropped for a reason."""
    origin: dict[str, Path] = {}
    for path in files:
        for key in read_keys(path):
            if why_dropped(key, published.DROPPED):
                continue
            if not any(key.startswith(part.prefix) for part in PARTS.values()):
                raise ConfigurationError(f"{path}: {key}: is not a parameter of any component of CoDi")
            if key in origin:
                raise ConfigurationError(f"{path}: {key}: is in {origin[key].name} too; keep one of the two files")
            origin[key] = path
    names = [name for name, part in PARTS.items() if any(key.startswith(part.prefix) for key in origin)]
    if not names:
        raise ConfigurationError(f"{files[0].parent}: its files hold no parameters of CoDi")
    return names


def _begin(output: Path, dtype: str) -> dict[str, Any]:
    """The record of a conversion to go on with, or a new one."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"output: {output} cannot be made a folder ({error}); choose another") from error
    path = output / RECORD
    if not path.exists():
        if any(not entry.name.startswith(".") for entry in output.iterdir()):
            raise ArgumentError(f"output: {output} holds other files; choose a new or empty folder")
        record = {"dtype": dtype, "components": {}}
        _write_json(path, record)
        return record
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        begun, _ = record["dtype"], record["components"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error}); remove the folder and start again") from error
    if begun != dtype:
        raise ConfigurationError(f"{output}: was begun in {begun}; go on with that dtype or choose another folder")
    return record


def _load_tokenizers(
    names: Sequence[str], sources: Mapping[str, str | Path], configs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    loaded: dict[str, Any] = {}
    if "text_prompt_encoder" in names:
        size = configs["text_prompt_encoder"]["vocab_size"]
        loaded["text_prompt_encoder"] = load_clip_tokenizer(sources["clip"], size)
    if "text_autoencoder" in names:
        loaded["text_autoencoder"] = load_optimus_tokenizer(
            sources["bert"], sources["gpt2"], configs["text_autoencoder"]
        )
    return loaded


def _convert(
    name: str, files: Sequence[Path], output: Path, dtype: torch.dtype, config: Mapping[str, Any], tokenizer: Any
) -> dict[str, Any]:
    """Convert one component into ``output / name``; what the record says of it."""
    part = PARTS[name]
    with init_empty_weights():
        net = part.build(**config)
    state = read_tensors(files, part.prefix)
    try:
        converted = part.convert(state, net)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {part.prefix}{error}") from error
    # What is not converted are buffers the network has made itself.
    net.load_state_dict({key: _cast(key, x, dtype) for key, x in converted.items()}, strict=False, assign=True)

    partial = output / f".partial-{name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    if isinstance(net, ClipTextPromptEncoder):
        net.tokenizer = tokenizer
    net.save_pretrained(partial, max_shard_size=_SHARD_SIZE)
    if isinstance(tokenizer, OptimusTokenizer):
        tokenizer.save_pretrained(output / ".partial-text_tokenizer")
        _move(output / ".partial-text_tokenizer", output / "text_tokenizer")
    _move(partial, output / name)
    reasons = Counter(filter(None, (why_dropped(key, part.dropped) for key in state)))
    return {"parameters": sum(p.numel() for p in net.parameters()), "dropped": dict(reasons)}


def _cast(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy in ``dtype``, whole numbers excepted; the copy has memory of its own, as safetensors asks for."""
    if not tensor.is_floating_point():
        return tensor.clone()
    cast = tensor.to(dtype, copy=True, memory_format=torch.contiguous_format)
    if cast.isfinite().all() or not tensor.isfinite().all():
        return cast
    raise ConfigurationError(f"{name}: holds values too large for {dtype}; convert to bfloat16 or float32")


def _write_scheduler(output: Path) -> None:
    partial = output / ".partial-scheduler"
    DDIMScheduler(**published.SCHEDULER).save_pretrained(partial)
    _move(partial, output / "scheduler")


def _index(names: Sequence[str], exchange: str) -> dict[str, Any]:
    """The ``model_index.json`` of what is there."""
    entries: dict[str, Any] = {}
    for name in names:
        kind = SpeechT5HifiGan if name == "audio_vocoder" else PARTS[name].build
        entries[name] = ["transformers" if name == "audio_vocoder" else kind.__module__, kind.__name__]
    if "text_autoencoder" in names:
        entries["text_tokenizer"] = [OptimusTokenizer.__module__, OptimusTokenizer.__name__]
    entries["scheduler"] = ["diffusers", "DDIMScheduler"]
    head = {"_class_name": "AnyToAnyPipeline", "_diffusers_version": diffusers.__version__}
    return {**head, **dict(sorted(entries.items())), "exchange": exchange, **published.DEFAULTS}


def _move(partial: Path, place: Path) -> None:
    """Put a complete folder in its place; one that a stopped run left there unrecorded is replaced."""
    shutil.rmtree(place, ignore_errors=True)
    os.replace(partial, place)


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
