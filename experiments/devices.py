"""Device mesh, batching over networks, and helpers for several processes."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.errors import ConfigError, ProcessError

_NETWORKS, _BATCH = "networks", "batch"


def use_all_cores() -> None:
    """Make one JAX device per CPU core; call it before JAX is used.

    Does nothing if the number of CPU devices is given by JAX_NUM_CPU_DEVICES or
    --xla_force_host_platform_device_count.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in flags:
        return
    on_linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    jax.config.update("jax_num_cpu_devices", cores)


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder.

    Does nothing if JAX's own variable, JAX_COMPILATION_CACHE_DIR, names a folder.
    """
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(root) / "bopt" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def initialize_processes(
    coordinator: str | None, processes: int | None, process_id: int | None
) -> None:
    """Connect this process to the others of the run."""
    try:
        jax.distributed.initialize(coordinator, processes, process_id)
    except ValueError as error:
        raise ConfigError(
            f"--distributed found no cluster: {error} Give --coordinator HOST:PORT, "
            "--processes and --process-id."
        ) from error


def data_devices(devices: int | Literal["all"], batch_size: int) -> int:
    """Return the number of devices that each batch is split across."""
    available, processes = jax.device_count(), jax.process_count()
    number = available if devices == "all" else devices
    if not 1 <= number <= available:
        raise ConfigError(
            f"--devices is {devices}, but {available} are available; expected 1 to "
            f"{available}."
        )
    if processes > 1 and number != available:
        raise ConfigError(
            f"--devices is {devices}, but the {processes} processes have {available}; "
            "expected all."
        )
    if batch_size % number:
        below = batch_size // number * number
        sizes = f"{below} or {below + number}" if below else f"{number}"
        raise ConfigError(
            f"--batch-size is {batch_size}, which is not a multiple of {number} "
            f"devices; expected for example {sizes}."
        )
    return number


def make_mesh(networks: int, batch: int = 1) -> Mesh:
    """Make a mesh of networks x batch, of all devices with several processes."""
    rows = jax.device_count() // batch
    if jax.process_count() == 1:
        rows = min(networks, rows)
    return jax.make_mesh(
        (rows, batch),
        (_NETWORKS, _BATCH),
        axis_types=(AxisType.Auto,) * 2,
        devices=jax.devices()[: rows * batch],
    )


def split_batch(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
    """Return a function that splits rows across devices, inside of `over_networks`."""
    if mesh.shape[_BATCH] == 1:
        return lambda rows: rows
    return lambda rows: jax.lax.with_sharding_constraint(rows, P(_BATCH))


def over_networks(
    function: Callable[..., Any], mapped: int, mesh: Mesh, at_once: bool | None = None
) -> Callable[..., Any]:
    """Map a function of one network over K networks, sharded over the mesh.

    The first `mapped` arguments and all results have a leading axis over networks; its
    length is a multiple of the mesh's. A CPU device maps its networks one after
    another, whose parameters stay in its cache: two to four times as fast as batched
    products of small matrices. An accelerator maps several at once; a single one is
    never batched, because its convolutions would become grouped ones. `at_once`
    overrides this choice.
    """
    on_cpu = mesh.devices.flat[0].platform == "cpu"

    def on_a_device(*args):
        own, shared = args[:mapped], args[mapped:]
        several = len(jax.tree.leaves(own)[0]) > 1
        vectorize = (several and not on_cpu) if at_once is None else at_once

        def one(own):
            return function(*own, *shared)

        return jax.vmap(one)(own) if vectorize else jax.lax.map(one, own)

    @functools.wraps(function)  # its name is in the logs of the compiler
    def on_all(*args):
        return jax.shard_map(
            on_a_device,
            mesh=mesh,
            in_specs=(P(_NETWORKS),) * mapped + (P(),) * (len(args) - mapped),
            out_specs=P(_NETWORKS),
            axis_names={_NETWORKS},  # XLA splits the batches, see `split_batch`
            check_vma=False,  # otherwise constants could not be carries of loops
        )(*args)

    return on_all


def sharding(mesh: Mesh, split: bool) -> NamedSharding:
    """Return the sharding of arrays with an axis over networks, or of shared ones."""
    return NamedSharding(mesh, P(_NETWORKS) if split else P())


def fetched(tree: Any) -> Any:
    """Copy a tree of arrays to the host; all processes call it together."""

    def whole(leaf):
        if leaf.is_fully_addressable or leaf.is_fully_replicated:
            return leaf
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.device_get(jax.tree.map(whole, tree))


def gathered(number: int) -> list[int]:
    """Return one number per process; all processes call it together."""
    if jax.process_count() == 1:
        return [number]
    return multihost_utils.process_allgather(np.int32(number)).tolist()


def on_first(function: Callable[[], Any]) -> Any:
    """Call a function in the first process only, and return None in the others.

    If it fails, all processes fail.
    """
    if jax.process_count() == 1:
        return function()
    result, error = None, None
    try:
        result = function() if jax.process_index() == 0 else None
    except Exception as raised:
        error = raised
    failed = gathered(error is not None)[0]
    if error is not None:
        raise error
    if failed:
        raise ProcessError("Process 0 failed; see its own message.")
    return result
