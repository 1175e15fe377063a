"""Several processes that train as one: which part of a step each does, what they tell one another, and sharded weights.

A recipe's batch is that of all processes together. Each draws the same random numbers for the whole batch and takes its own
rows, so a run is the same run whatever the number of processes, up to rounding. It may be resumed with another number.
"""

import atexit
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import nn
from torch.overrides import TorchFunctionMode

from ..errors import ConfigurationError, TrainingError

LONGEST_WAIT = timedelta(hours=3)
"""How long processes wait for one that validates, or that encodes the data."""

DRAWS = (torch.rand, torch.randn, torch.randint)

Result = TypeVar("Result")


def make_accelerator(device: torch.device, precision: str) -> Accelerator:
    """An accelerator for one run; a run before it in this process may have had another precision.

    Raises:
        TrainingError: if the processes cannot reach one another.
    """
    AcceleratorState._reset_state(reset_partial_state=False)
    handlers = [
        # Some stages leave weights without a gradient in some steps.
        DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
        InitProcessGroupKwargs(timeout=LONGEST_WAIT),
    ]
    try:
        accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu", kwargs_handlers=handlers)
    except torch.distributed.DistError as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"the processes cannot reach one another ({reason}); check torchrun's addresses") from error
    # Runs of one interpreter share a group. Its threads must end before the interpreter does, or the process may abort.
    atexit.unregister(leave_group)
    atexit.register(leave_group)
    return accelerator


def leave_group() -> None:
    """End this process's part in the group of processes, if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


# ---------------------------------------------------------------------- one step


_STEP: ContextVar["WholeBatch | None"] = ContextVar("step", default=None)


class WholeBatch(TorchFunctionMode):
    """Within it, noise drawn from ``generator`` is drawn for the batch of all processes, and this one gets its rows.

    Args:
        generator: the same on all processes.
        process: number of this one.
        processes: how many there are.
    """

    def __init__(self, generator: torch.Generator, process: int, processes: int):
        super().__init__()
        self.generator, self.process, self.processes = generator, process, processes

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: Mapping | None = None
    ) -> Any:
        """What ``function`` gives; draws are made larger and cut."""
        kwargs = dict(kwargs or {})
        if function not in DRAWS or kwargs.get("generator") is not self.generator:
            return function(*args, **kwargs)
        size = kwargs.pop("size", None)
        if size is None:
            known = 0 if function is not torch.randint else len([each for each in args if isinstance(each, int)])
            args, rest = args[:known], args[known:]
            size = rest[0] if len(rest) == 1 and not isinstance(rest[0], int) else rest
        size = tuple(size)
        if not size:
            return function(*args, size, **kwargs)
        whole = function(*args, (self.processes * size[0], *size[1:]), **kwargs)
        return whole[self.process * size[0] : (self.process + 1) * size[0]]


@contextmanager
def whole_batch(accelerator: Accelerator, generator: torch.Generator) -> Iterator[None]:
    """Around the forward pass of a training step; with one process it changes nothing."""
    if accelerator.num_processes == 1:
        yield
        return
    mode = WholeBatch(generator, accelerator.process_index, accelerator.num_processes)
    token = _STEP.set(mode)
    try:
        with mode:
            yield
    finally:
        _STEP.reset(token)


def process_share(batch: Mapping[str, torch.Tensor], process: int, processes: int) -> dict[str, torch.Tensor]:
    """The rows of a batch (all of one length) that one of ``processes`` works on."""
    if processes == 1:
        return dict(batch)
    shares = {}
    for name, value in batch.items():
        size = len(value) // processes
        shares[name] = value[process * size : (process + 1) * size]
    return shares


def check_divides(batch_size: int, processes: int) -> None:
    """Raise ConfigurationError unless each process gets the same number of items."""
    if batch_size % processes:
        raise ConfigurationError(
            f"batch_size: {batch_size} items cannot be shared evenly by {processes} processes; make it a multiple of "
            f"{processes}, or start another number of processes"
        )


def items_rng(generator: torch.Generator) -> np.random.Generator:
    """Randomness for each item of a process's share: another on each process, the same whenever the step is done again."""
    step = _STEP.get()
    seed = generator.initial_seed()
    return np.random.default_rng(seed if step is None or step.process == 0 else (seed, step.process))


def gathered(rows: torch.Tensor) -> torch.Tensor:
    """``rows`` [B, ...] of all processes [processes * B, ...] within a training step; elsewhere ``rows``.

    Gradients reach the rows of this process. They are multiplied by the number of processes, because the mean over processes
    that follows divides the parts of one gradient by it.
    """
    step = _STEP.get()
    if step is None:
        return rows
    parts = [torch.empty_like(rows) for _ in range(step.processes)]
    torch.distributed.all_gather(parts, rows.detach().contiguous())
    if rows.requires_grad:
        parts[step.process] = rows.detach() + step.processes * (rows - rows.detach())
    return torch.cat(parts)


def mirrored_within(columns: torch.Tensor, own: int) -> torch.Tensor:
    """[N, processes * own] with the columns of each process in reverse: the partners of items that each mixes with its last."""
    return columns.unflatten(1, (-1, own)).flip(-1).flatten(1)


# ---------------------------------------------------------------------- agreement


def agreed(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """For each flag, whether any process has set it; all processes get the same answer at the same time."""
    if accelerator.num_processes == 1:
        return list(flags)
    told = torch.tensor(flags, dtype=torch.int32, device=accelerator.device)
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in told.tolist()]


def mean_over_processes(accelerator: Accelerator, values: Mapping[str, float]) -> dict[str, float]:
    """The mean of each value; NaN if it is that anywhere."""
    if accelerator.num_processes == 1:
        return dict(values)
    told = torch.tensor(list(values.values()), dtype=torch.float32, device=accelerator.device)
    torch.distributed.all_reduce(told)
    return dict(zip(values, (told / accelerator.num_processes).tolist()))


def together(accelerator: Accelerator, function: Callable[[], Result]) -> Result:
    """``function()`` of this process; if it fails on any process, all stop: those where it did not say so."""
    error, result = None, None
    try:
        result = function()
    except BaseException as caught:
        error = caught
    (failed,) = agreed(accelerator, error is not None)
    if error is not None:
        raise error
    if failed:
        raise TrainingError(f"process {accelerator.process_index} stops: another one could not go on, see its message")
    return result


def on_first(accelerator: Accelerator, function: Callable[[], Result]) -> Result | None:
    """``function()`` on the first process while the others wait; None there. If it fails, all stop."""
    return together(accelerator, function if accelerator.is_main_process else lambda: None)


# ---------------------------------------------------------------------- sharded weights (FSDP2)


def shard(task: nn.Module, accelerator: Accelerator) -> None:
    """Split the weights of ``task`` over all processes; each block is put together while it is used.

    accelerate's own FSDP2 plug-in does nothing on CPUs, where tests run, so torch's ``fully_shard`` is called here.

    Raises:
        ConfigurationError: with one process, or with fp16.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if accelerator.num_processes == 1:
        raise ConfigurationError("--shard: needs several processes; start them with torchrun --nproc-per-node N")
    if accelerator.mixed_precision == "fp16":
        raise ConfigurationError("mixed_precision: fp16 cannot be used with --shard; use bf16")
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for module in _blocks(task):
        fully_shard(module, mesh=mesh)
    fully_shard(task, mesh=mesh)


def _blocks(task: nn.Module) -> list[nn.Module]:
    """Blocks of our denoisers, and those that networks of diffusers and transformers name as whole, innermost last."""
    from ..denoisers.blocks import Block

    whole = {name for module in task.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    found: list[nn.Module] = []
    for module in task.modules():
        if isinstance(module, Block) or type(module).__name__ in whole:
            found.append(module)
    return found


@contextmanager
def unsharded(task: nn.Module) -> Iterator[None]:
    """Within it, methods of networks may be called that are not ``forward``; on all processes alike."""
    sharded = [module for module in task.modules() if hasattr(module, "unshard")]
    for module in sharded:
        module.unshard()
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor that may be sharded, detached; called on all processes alike."""
    tensor = tensor.detach()
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def put(target: torch.Tensor, values: torch.Tensor) -> None:
    """Copy all of a tensor into ``target``, which may be sharded."""
    target.detach().copy_(like(target, values))


def like(target: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``values`` on the device of ``target`` and sharded as it is; what has another shape stays whole."""
    if not hasattr(target, "full_tensor") or values.shape != target.shape:
        return values.to(target.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(values.to(target.device), target.device_mesh, target.placements)


def whole_network(network: Any) -> Any:
    """A copy of a network on the CPU with all of its weights; what is no network is returned as it is."""
    if not isinstance(network, nn.Module):
        return network
    values = {name: whole(value).cpu() for name, value in network.state_dict().items()}
    made = type(network).from_config(copy.deepcopy(dict(network.config)))
    made.load_state_dict(values)
    return made


def all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether every number is finite, of sharded tensors in this process's part."""
    return all(bool(torch.isfinite(getattr(each, "_local_tensor", each)).all()) for each in tensors)
