"""The processes that torchrun or SLURM started, and whether the settings ask for as many."""

from __future__ import annotations

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Trainer

from clothseg.errors import SettingError, one_line

_WAY_OUT = {
    "torchrun": "Give DEVICES the number of --nproc-per-node, and NUM_NODES that of --nnodes",
    "SLURM": "Give DEVICES the number of --ntasks-per-node, and NUM_NODES that of --nodes",
}


def check_processes(trainer: Trainer) -> None:
    """Refuse to train on another number of processes than were started.

    Where the settings ask for one process, Lightning lets each train by itself, and all write to the same files; where
    they ask for more than there are, it waits for the others.

    Raises:
        SettingError: torchrun or SLURM started more or fewer processes than the settings ask for, here or in all.
    """
    environment: TorchElasticEnvironment | SLURMEnvironment
    if TorchElasticEnvironment.detect():  # the first choice, as it is Lightning's: it may run inside a SLURM job
        name, environment = "torchrun", TorchElasticEnvironment()
    elif SLURMEnvironment.detect():
        name, environment = "SLURM", SLURMEnvironment()
    else:
        return
    devices, nodes, started = trainer.num_devices, trainer.num_nodes, environment.world_size()
    if started != devices * nodes:
        raise SettingError(
            f"{name} started {started} processes, but {devices} on each of {nodes} machines are asked for. "
            f"{_WAY_OUT[name]}"
        )
    try:
        environment.validate_settings(num_devices=devices, num_nodes=nodes)
    except ValueError as error:
        raise SettingError(f"{one_line(error)} {_WAY_OUT[name]}") from error
