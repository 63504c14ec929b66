"""Many networks as one program: an axis over networks, and what it runs on."""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

_AXIS = "networks"


class Network(NamedTuple):
    """What is a network's own among those that train as one program.

    Attributes:
      seed: of its initial parameters, its order of the images, and all else random.
      weights: of the two objectives.

    Example:
      >>> from experiments.networks import Network
      >>> Network(seed=0, weights=(0.9, 0.1)).seed
      0
    """

    seed: int
    weights: tuple[float, ...]


def make_mesh(networks: int) -> Mesh:
    """The devices that so many networks are divided among: all, or one for each.

    Example:
      >>> from experiments.networks import make_mesh
      >>> make_mesh(1).size
      1
    """
    devices = jax.devices()[:networks]
    return jax.make_mesh(
        (len(devices),), (_AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )


def over_networks(
    function: Callable[..., Any],
    mapped: int,
    mesh: Mesh,
    at_once: bool | None = None,
) -> Callable[..., Any]:
    """From a function of one network to the same of K networks, for `jax.jit`.

    The axis is sharded over the mesh. On each of its devices, a CPU takes one network
    after another, whose parameters stay in its cache: two to four times as fast as
    batched products of small matrices. An accelerator takes all at once.

    Args:
      function: its results are arrays.
      mapped: so many of its arguments, the first ones, get a leading axis of length K,
        which the number of devices divides. The others are the same for all networks.
      mesh: see `make_mesh`.
      at_once: whether a device takes all its networks at once or one after another;
        None: whatever suits it.

    Returns:
      A function whose results have the leading axis.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from experiments.networks import make_mesh, over_networks
      >>> print(over_networks(jnp.add, 1, make_mesh(1))(jnp.arange(2), 1))
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
        specs = [P(_AXIS) if number < mapped else P() for number in range(len(args))]
        return jax.shard_map(
            on_a_device,
            mesh=mesh,
            in_specs=tuple(specs),
            out_specs=P(_AXIS),
            check_vma=False,  # else constants would be no carry of a loop
        )(*args)

    return on_all


def sharding(mesh: Mesh, split: bool) -> NamedSharding:
    """Where arrays are that have an axis over networks (split), or that all share.

    Example:
      >>> from experiments.networks import make_mesh, sharding
      >>> sharding(make_mesh(1), split=False).is_fully_replicated
      True
    """
    return NamedSharding(mesh, P(_AXIS) if split else P())


def use_all_cores() -> None:
    """Makes a device of each of this process's CPU cores, for networks to share.

    To be called before JAX is used. Does nothing where the number of CPU devices was
    told: ``JAX_NUM_CPU_DEVICES``, ``--xla_force_host_platform_device_count``.

    Example:
      >>> import subprocess, sys
      >>> program = "from experiments.networks import use_all_cores; import jax; "
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
