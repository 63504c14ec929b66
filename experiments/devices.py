"""What a program runs on: devices that divide the networks, and the batches of each."""

import functools
import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.errors import ConfigError, ProcessError

_NETWORKS, _BATCH = "networks", "batch"


class Network(NamedTuple):
    """What is a network's own among those that train as one program.

    Attributes:
      seed: of its initial parameters, its order of the images, and all else random.
      weights: of the two objectives.

    Example:
      >>> from experiments.devices import Network
      >>> Network(seed=0, weights=(0.9, 0.1)).seed
      0
    """

    seed: int
    weights: tuple[float, ...]


def data_devices(devices: int | Literal["all"], batch_size: int) -> int:
    """How many devices divide a network's batches.

    Args:
      devices: a number, or all that there are.
      batch_size: images a step.

    Raises:
      ConfigError: more than there are, or a batch that they do not divide.

    Example:
      >>> from experiments.devices import data_devices
      >>> data_devices(1, 32)
      1
    """
    there = jax.device_count()
    number = there if devices == "all" else devices
    if not 1 <= number <= there:
        raise ConfigError(
            f"--devices is {devices}, but there are {there}; expected 1 to {there}."
        )
    if jax.process_count() > 1 and number != there:
        raise ConfigError(
            f"--devices is {devices}, but the {jax.process_count()} processes have "
            f"{there}; expected all."
        )
    if batch_size % number:
        above = -(-batch_size // number) * number
        sizes = f"{above - number} or {above}" if above > number else f"{above}"
        raise ConfigError(
            f"--batch-size is {batch_size}, which {number} devices do not divide; the "
            f"next that they do: {sizes}."
        )
    return number


def make_mesh(networks: int, batch: int = 1) -> Mesh:
    """The devices that so many networks are divided among: all, or one for each.

    Args:
      networks: how many.
      batch: so many devices divide each network's batches. With several processes, all
        devices of all of them are in the mesh.

    Example:
      >>> from experiments.devices import make_mesh
      >>> make_mesh(1).size
      1
    """
    rows = jax.device_count() // batch
    if jax.process_count() == 1:
        rows = min(networks, rows)
    return jax.make_mesh(
        (rows, batch),
        (_NETWORKS, _BATCH),
        axis_types=(AxisType.Auto,) * 2,
        devices=jax.devices()[: rows * batch],
    )


def divided(mesh: Mesh | None, many: bool) -> Callable[[jax.Array], jax.Array]:
    """A function, for use inside `jax.jit`, that divides a batch's rows among devices.

    Args:
      mesh: see `make_mesh`; None: there is one device.
      many: whether it will be called inside `over_networks`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from experiments.devices import divided, make_mesh
      >>> print(jax.jit(divided(make_mesh(1), many=False))(jnp.arange(2)))
      [0 1]
    """
    if mesh is None or mesh.shape[_BATCH] == 1:
        return lambda rows: rows
    where = P(_BATCH) if many else NamedSharding(mesh, P(_BATCH))
    return lambda rows: jax.lax.with_sharding_constraint(rows, where)


def over_networks(
    function: Callable[..., Any],
    mapped: int,
    mesh: Mesh,
    at_once: bool | None = None,
) -> Callable[..., Any]:
    """From a function of one network to the same of K networks, for `jax.jit`.

    The axis is sharded over the rows of the mesh. In each, a CPU takes one network
    after another, whose parameters stay in its cache: two to four times as fast as
    batched products of small matrices. An accelerator takes all at once.

    Args:
      function: its results are arrays.
      mapped: so many of its arguments, the first ones, get a leading axis of length K,
        which the number of rows divides. The others are the same for all networks.
      mesh: see `make_mesh`.
      at_once: whether a device takes all its networks at once or one after another;
        None: whatever suits it.

    Returns:
      A function whose results have the leading axis.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from experiments.devices import make_mesh, over_networks
      >>> print(jax.jit(over_networks(jnp.add, 1, make_mesh(1)))(jnp.arange(2), 1))
      [1 2]
    """
    if at_once is None:
        at_once = mesh.devices.flat[0].platform != "cpu"

    def on_a_device(*args):
        own, shared = args[:mapped], args[mapped:]

        def one(own):
            return function(*own, *shared)

        return jax.vmap(one)(own) if at_once else jax.lax.map(one, own)

    @functools.wraps(function)  # its name is in the logs of what is compiled
    def on_all(*args):
        specs = [*[P(_NETWORKS)] * mapped, *[P()] * (len(args) - mapped)]
        return jax.shard_map(
            on_a_device,
            mesh=mesh,
            in_specs=tuple(specs),
            out_specs=P(_NETWORKS),
            axis_names={_NETWORKS},  # XLA divides the batches, as `divided` says
            check_vma=False,  # else constants would be no carry of a loop
        )(*args)

    return on_all


def sharding(mesh: Mesh, split: bool) -> NamedSharding:
    """Where arrays are that have an axis over networks (split), or that all share.

    Example:
      >>> from experiments.devices import make_mesh, sharding
      >>> sharding(make_mesh(1), split=False).is_fully_replicated
      True
    """
    return NamedSharding(mesh, P(_NETWORKS) if split else P())


def use_all_cores() -> None:
    """Makes a device of each of this process's CPU cores, for networks to share.

    To be called before JAX is used. Does nothing where the number of CPU devices was
    told: ``JAX_NUM_CPU_DEVICES``, ``--xla_force_host_platform_device_count``.

    Example:
      >>> import subprocess, sys
      >>> program = "from experiments.devices import use_all_cores; import jax; "
      >>> program += "use_all_cores(); print(jax.device_count())"
      >>> environment = {"JAX_NUM_CPU_DEVICES": "3", "JAX_PLATFORMS": "cpu"}
      >>> print(subprocess.run([sys.executable, "-c", program], env=environment,
      ...                      capture_output=True, text=True).stdout)
      3
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in flags:
        return
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # not Linux
        cores = os.cpu_count() or 1
    jax.config.update("jax_num_cpu_devices", cores)


def fetched(tree: Any) -> Any:
    """A tree of arrays on the host, wherever their parts are.

    Args:
      tree: of arrays; all processes ask for the same ones.

    Example:
      >>> import jax.numpy as jnp
      >>> from experiments.devices import fetched
      >>> fetched({"a": jnp.arange(2)})
      {'a': array([0, 1], dtype=int32)}
    """

    def whole(leaf):
        if leaf.is_fully_addressable or leaf.is_fully_replicated:
            return leaf
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.device_get(jax.tree.map(whole, tree))


def gathered(number: int) -> list[int]:
    """Every process' number, in the processes' order, which all of them ask for.

    Example:
      >>> from experiments.devices import gathered
      >>> gathered(3)
      [3]
    """
    if jax.process_count() == 1:
        return [number]
    return multihost_utils.process_allgather(np.int32(number)).tolist()


def on_first(function: Callable[[], Any]) -> Any:
    """Calls a function in the first process alone; where it fails, all fail.

    Returns:
      What the function returned; None in the other processes.

    Raises:
      ProcessError: in the other processes, when the first failed.

    Example:
      >>> from experiments.devices import on_first
      >>> on_first(lambda: "done")
      'done'
    """
    if jax.process_count() == 1:
        return function()
    result, error = None, None
    if jax.process_index() == 0:
        try:
            result = function()
        except Exception as raised:
            error = raised
    failed = gathered(error is not None)[0]
    if error is not None:
        raise error
    if failed:
        raise ProcessError("Process 0 failed; it says why.")
    return result
