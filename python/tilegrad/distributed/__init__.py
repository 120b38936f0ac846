"""``torch.distributed`` for a group of one process: every collective is the identity.

Programs that can run on several processes run on one here. Asking for more raises; nothing is
silently left undone.
"""

from __future__ import annotations

import enum
import os
from typing import Any

from ..autograd.mode import no_grad
from ..tensor import Tensor

__all__ = [
    "Backend",
    "GroupMember",
    "ProcessGroup",
    "ReduceOp",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "all_to_all_single",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "destroy_process_group",
    "gather",
    "gather_object",
    "get_backend",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "irecv",
    "is_available",
    "is_gloo_available",
    "is_initialized",
    "is_mpi_available",
    "is_nccl_available",
    "is_torchelastic_launched",
    "isend",
    "monitored_barrier",
    "new_group",
    "recv",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "scatter",
    "send",
]


class ReduceOp(enum.Enum):
    """What a reduction computes; for one process the value itself."""

    SUM = "sum"
    AVG = "avg"
    PRODUCT = "product"
    MIN = "min"
    MAX = "max"
    BAND = "band"
    BOR = "bor"
    BXOR = "bxor"


class Backend:
    """Names of backends; all are the one process here."""

    GLOO, NCCL, MPI, UNDEFINED = "gloo", "nccl", "mpi", "undefined"


class ProcessGroup:
    """A group of this process alone."""

    def size(self) -> int:
        """1."""
        return 1

    def rank(self) -> int:
        """0."""
        return 0


class group:
    """Well-known groups."""

    WORLD: ProcessGroup | None = None


class GroupMember:
    """Groups by membership."""

    WORLD: ProcessGroup | None = None
    NON_GROUP_MEMBER = object()


class _Done:
    """The handle of an operation that is complete."""

    def wait(self, timeout: Any = None) -> bool:
        """True at once."""
        return True

    def is_completed(self) -> bool:
        """True."""
        return True


_state: dict[str, Any] = {"backend": None}


def is_available() -> bool:
    """True: groups of one process can be made."""
    return True


def is_initialized() -> bool:
    """Whether :func:`init_process_group` was called."""
    return _state["backend"] is not None


def is_nccl_available() -> bool:
    """False."""
    return False


def is_gloo_available() -> bool:
    """False: the one process needs nothing to talk to itself."""
    return False


def is_mpi_available() -> bool:
    """False."""
    return False


def is_torchelastic_launched() -> bool:
    """Whether a launcher of PyTorch's started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: Any = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Makes the group of this process.

    Raises NotImplementedError for a ``world_size``, given or in the environment, other than 1;
    ValueError if there is a group already or the rank is not 0.
    """
    if is_initialized():
        raise ValueError("trying to initialize the default process group twice!")
    if world_size == -1:
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if rank == -1:
        rank = int(os.environ.get("RANK", "0"))
    if world_size != 1:
        raise NotImplementedError(
            f"init_process_group: only groups of one process are supported, got {world_size}"
        )
    if rank != 0:
        raise ValueError(f"init_process_group: expected rank 0 of 1, got {rank}")
    _state["backend"] = backend or "gloo"
    group.WORLD = GroupMember.WORLD = ProcessGroup()


def destroy_process_group(group: Any = None) -> None:
    """Forgets the group. Raises RuntimeError if there is none."""
    _require_group()
    _state["backend"] = None
    globals()["group"].WORLD = GroupMember.WORLD = None


def _require_group() -> None:
    if not is_initialized():
        raise ValueError(
            "Default process group has not been initialized, please make sure to call "
            "init_process_group."
        )


def get_rank(group: Any = None) -> int:
    """0. Raises ValueError without a group."""
    _require_group()
    return 0


def get_world_size(group: Any = None) -> int:
    """1. Raises ValueError without a group."""
    _require_group()
    return 1


def get_backend(group: Any = None) -> str:
    """The name that :func:`init_process_group` was given. Raises ValueError without a group."""
    _require_group()
    return _state["backend"]


def new_group(ranks: Any = None, *args: Any, **options: Any) -> ProcessGroup:
    """Another group of this process. Raises ValueError without a group or for other ranks."""
    _require_group()
    if ranks is not None and list(ranks) not in ([], [0]):
        raise ValueError(f"new_group: expected ranks of a group of one, got {ranks}")
    return ProcessGroup()


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Any:
    """Nobody to wait for. Raises ValueError without a group."""
    return _done(async_op)


def monitored_barrier(*args: Any, **options: Any) -> None:
    """Nobody to wait for. Raises ValueError without a group."""
    _require_group()


def _done(async_op: bool) -> Any:
    _require_group()
    return _Done() if async_op else None


def _alone(name: str, rank: Any) -> None:
    if rank not in (0, None):
        raise ValueError(f"{name}: rank {rank} is not in the group, whose only rank is 0")


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Any:
    """The tensor stays as it is. Raises ValueError without a group."""
    return _done(async_op)


def reduce(
    tensor: Tensor, dst: int = 0, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Any:
    """The tensor stays as it is. Raises ValueError without a group or for another rank."""
    _alone("reduce", dst)
    return _done(async_op)


def broadcast(tensor: Tensor, src: int = 0, group: Any = None, async_op: bool = False) -> Any:
    """The tensor stays as it is. Raises ValueError without a group or for another rank."""
    _alone("broadcast", src)
    return _done(async_op)


def broadcast_object_list(
    object_list: list, src: int = 0, group: Any = None, device: Any = None
) -> None:
    """The list stays as it is. Raises ValueError without a group or for another rank."""
    _alone("broadcast_object_list", src)
    _require_group()


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Any:
    """Copies the tensor to the only entry of the list.

    Raises ValueError without a group or for another number of entries.
    """
    _require_group()
    _copy_to("all_gather", tensor_list, tensor)
    return _done(async_op)


def _copy_to(name: str, targets: Any, tensor: Tensor) -> None:
    if len(targets) != 1:
        raise ValueError(f"{name}: expected a list for 1 process, got {len(targets)} entries")
    with no_grad():
        targets[0].copy_(tensor)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Any:
    """Copies the input to the output. Raises ValueError without a group."""
    _require_group()
    with no_grad():
        output_tensor.copy_(input_tensor.reshape(output_tensor.shape))
    return _done(async_op)


def reduce_scatter_tensor(
    output: Tensor,
    input: Tensor,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Copies the input to the output. Raises ValueError without a group."""
    return all_gather_into_tensor(output, input, group, async_op)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Any = None,
    input_split_sizes: Any = None,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Copies the input to the output. Raises ValueError without a group."""
    return all_gather_into_tensor(output, input, group, async_op)


def reduce_scatter(
    output: Tensor,
    input_list: list[Tensor],
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Copies the list's only entry to the output; ValueError without a group or for more."""
    return scatter(output, input_list, 0, group, async_op)


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int = 0,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Copies the list's only entry to the tensor.

    Raises ValueError without a group, for another rank or number of entries.
    """
    _require_group()
    _alone("scatter", src)
    if scatter_list is None or len(scatter_list) != 1:
        raise ValueError("scatter: expected a list of one tensor, for one process")
    _copy_to("scatter", [tensor], scatter_list[0])
    return _done(async_op)


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int = 0,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Copies the tensor to the only entry of the list; errors as for :func:`all_gather`."""
    _alone("gather", dst)
    _require_group()
    _copy_to("gather", gather_list or [], tensor)
    return _done(async_op)


def all_gather_object(object_list: list, obj: Any, group: Any = None) -> None:
    """Puts the object into the only entry of the list; ValueError for another number."""
    _require_group()
    if len(object_list) != 1:
        raise ValueError(f"all_gather_object: expected a list of 1, got {len(object_list)}")
    object_list[0] = obj


def gather_object(
    obj: Any, object_gather_list: list | None = None, dst: int = 0, group: Any = None
) -> None:
    """As :func:`all_gather_object`, with its errors."""
    _alone("gather_object", dst)
    all_gather_object(object_gather_list or [], obj)


def send(tensor: Tensor, dst: int = 0, *args: Any, **options: Any) -> None:
    """Raises ValueError: there is nobody to send to."""
    raise ValueError("send: the group has one process, which cannot send to itself")


def recv(tensor: Tensor, src: int | None = None, *args: Any, **options: Any) -> int:
    """Raises ValueError: there is nobody to receive from."""
    raise ValueError("recv: the group has one process, which cannot receive from itself")


isend, irecv = send, recv
