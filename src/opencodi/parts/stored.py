"""One part of a model that is still in its folder: its class, its config, and how it is loaded."""

import re
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import ModelMixin, SchedulerMixin
from torch import nn

from ..errors import ConfigurationError
from ..models.schema import one_line, read_config, read_header
from .turns import loading

LIBRARIES = ("opencodi", "diffusers", "transformers")
"""Where the classes of parts may come from; a model folder must not make us import anything else."""

_PATH = re.compile(r"opencodi(\.[a-z][a-z0-9_]*)+|diffusers|transformers")
_ALIGNMENT = 64


@dataclass(frozen=True)
class StoredPart:
    """A part of a model that is still in its folder.

    Attributes:
        folder: of this part.
        module, class_name: its class, as ``model_index.json`` names it.
        dtype: precision of its weights once loaded, whatever the files hold.
        variant: which of its weight files are read, such as ``"fp16"``; None: those without a variant.
    """

    folder: Path
    module: str
    class_name: str
    dtype: torch.dtype = torch.float32
    variant: str | None = None

    def __post_init__(self) -> None:
        """Refuse a class from elsewhere before anything is imported.

        Raises:
            ConfigurationError: if it is from none of our libraries.
        """
        if not _PATH.fullmatch(self.module):
            raise ConfigurationError(
                f"{self.folder}: its class {self.module}.{self.class_name} is not from {', '.join(LIBRARIES)}; load that "
                f"part yourself and give it to from_pretrained as {self.folder.name}=…"
            )

    @cached_property
    def kind(self) -> type:
        """The class.

        Raises:
            ConfigurationError: if there is none of that name, or it is no model, scheduler or tokenizer.
        """
        try:
            kind = getattr(import_module(self.module), self.class_name)
        except (ImportError, AttributeError, RuntimeError) as error:
            raise ConfigurationError(
                f"{self.folder}: there is no class {self.module}.{self.class_name}; restore model_index.json"
            ) from error
        if not (isinstance(kind, type) and issubclass(kind, _part_classes(self.module))):
            raise ConfigurationError(
                f"{self.folder}: {self.module}.{self.class_name} is no model, scheduler or tokenizer; restore model_index.json"
            )
        return kind

    @cached_property
    def config(self) -> dict[str, Any]:
        """What ``config.json`` holds.

        Raises:
            ConfigurationError: if it cannot be read.
        """
        self._check_folder()
        return read_config(self.folder / "config.json")

    @property
    def is_network(self) -> bool:
        """Whether it has weights, seen from its files."""
        return any(self.folder.glob("*.safetensors"))

    @property
    def size(self) -> int:
        """Bytes of its weights in its precision, seen from the headers of its files."""
        ending = f".{self.variant}.safetensors" if self.variant else ".safetensors"
        headers = [read_header(file)[0] for file in self.folder.glob(f"*{ending}")]
        return sum(tensor.count for header in headers for tensor in header.values()) * self.dtype.itemsize

    def load(self) -> Any:
        """The part on the CPU, in evaluation mode.

        Raises:
            ConfigurationError: if a file is missing or damaged, or lacks weights.
        """
        kind, options, info = self.kind, {"local_files_only": True}, {}
        self._check_folder()
        if issubclass(kind, nn.Module):
            _ = self.config
            # Our libraries agree on everything but the name of the precision.
            name = "torch_dtype" if issubclass(kind, ModelMixin) else "dtype"
            options |= {name: self.dtype, "use_safetensors": True, "output_loading_info": True}
            options |= {"variant": self.variant} if self.variant else {}
        try:
            with loading(self.dtype):
                part = kind.from_pretrained(str(self.folder), **options)
        except ConfigurationError:
            raise
        except Exception as error:  # libraries raise what they like, tokenizers even plain Exception
            raise ConfigurationError(f"model part {self.folder} cannot be loaded: {one_line(error)}; restore it") from error
        if isinstance(part, tuple):
            part, info = part
        if info.get("missing_keys"):
            lacking = sorted(info["missing_keys"])[0]
            raise ConfigurationError(f"{self.folder}: its files lack the weights {lacking}; restore them")
        if isinstance(part, ModelMixin):
            # Saved again, a model must not carry the path it was loaded from.
            part.register_to_config(_name_or_path=f"{self.folder.parent.name}/{self.folder.name}")
        if isinstance(part, nn.Module):
            align_weights(part)
        return part

    def skeleton(self) -> ModelMixin | None:
        """The network without weights, for its config and shapes; None where this is no diffusers model.

        Raises:
            ConfigurationError: if its config does not fit its class.
        """
        kind = self.kind
        if not issubclass(kind, ModelMixin):
            return None
        try:
            with loading(), init_empty_weights():
                return kind.from_config(self.config)
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"{self.folder / 'config.json'} does not describe a {self.class_name}: {one_line(error)}; restore it"
            ) from error

    def _check_folder(self) -> None:
        if not self.folder.is_dir():
            raise ConfigurationError(
                f"model part {self.folder} is gone since the model was opened; put it back, or open the model again"
            )


def align_weights(part: nn.Module) -> None:
    """Move weights that lie at odd places of a mapped file to where torch would have put them.

    Matrix products add up in another order for tensors that are not aligned: a loaded model would differ from the one that was
    saved in the last bits.
    """
    for tensor in (*part.parameters(), *part.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone()


def index_entry(part: Any) -> tuple[str, str] | tuple[None, None]:
    """How ``model_index.json`` names the class of a part: library and class for our libraries', else its module."""
    if part is None:
        return None, None
    if isinstance(part, StoredPart):
        return part.module, part.class_name
    kind = type(getattr(part, "_orig_mod", part))  # torch.compile wraps a module
    library = kind.__module__.partition(".")[0]
    return (library if library in ("diffusers", "transformers") else kind.__module__), kind.__name__


def _part_classes(module: str) -> tuple[type, ...]:
    """What the class of a part may be; transformers is imported only where something may be of it."""
    if module == "diffusers":
        return ModelMixin, SchedulerMixin
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    return ModelMixin, SchedulerMixin, PreTrainedModel, PreTrainedTokenizerBase
