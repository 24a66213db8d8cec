"""Chooses, once, where a run computes: one device, several, several workers, TPU."""

import dataclasses
import functools
import os

import tensorflow as tf
from absl import logging

import json_files
from errors import UserError

STRATEGIES = ("off", "mirrored", "multi_worker", "tpu")


@dataclasses.dataclass(frozen=True)
class DistributionConfig:
    """Where to run; the TPU fields carry the parent's flags.

    Attributes:
      strategy: "off", "mirrored", "multi_worker" (reads TF_CONFIG) or "tpu".
      tpu_name: name or grpc:// address of the TPU.
      tpu_zone: its zone; detected when None.
      gcp_project: its project; detected when None.
      master: address of the TPU worker, used where `tpu_name` is None.
      num_tpu_cores: cores expected; another number is an error.
    """

    strategy: str = "off"
    tpu_name: str | None = None
    tpu_zone: str | None = None
    gcp_project: str | None = None
    master: str | None = None
    num_tpu_cores: int = 8


def make_strategy(config: DistributionConfig) -> tf.distribute.Strategy:
    """Returns the strategy; call it before any other TensorFlow operation.

    Raises:
      UserError: the strategy is unknown, TF_CONFIG is missing or malformed, or
        the TPU is not there, or has another number of cores.
    """
    makers = {
        "off": lambda: tf.distribute.get_strategy(),
        "mirrored": _mirrored_strategy,
        "multi_worker": _multi_worker_strategy,
        "tpu": lambda: _tpu_strategy(config),
    }
    if config.strategy not in makers:
        raise UserError(
            f"--distribution_strategy is {config.strategy!r}; "
            f"it must be one of {', '.join(STRATEGIES)}"
        )
    strategy = makers[config.strategy]()
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    kind = "TPU" if config.strategy == "tpu" else kind
    logging.info("computing on %d x %s", strategy.num_replicas_in_sync, kind)
    return strategy


def _mirrored_strategy():
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    return _mirrored(tuple(device.name for device in devices))


def _multi_worker_strategy():
    _check_tf_config(os.environ.get("TF_CONFIG"))
    return tf.distribute.MultiWorkerMirroredStrategy()


@functools.cache
def _mirrored(devices):
    # One a process: TensorFlow takes the collectives of a second one for the first's.
    return tf.distribute.MirroredStrategy(devices)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the files of the run."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type is None:
        return True
    return resolver.task_type == "chief" or (
        resolver.task_type == "worker"
        and resolver.task_id == 0
        and "chief" not in resolver.cluster_spec().jobs
    )


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """The number of processes that train together."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    cluster = strategy.cluster_resolver.cluster_spec()
    return sum(
        cluster.num_tasks(job) for job in ("chief", "worker") if job in cluster.jobs
    )


def _check_tf_config(value):
    example = (
        '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )
    if not value:
        raise UserError(
            "--distribution_strategy=multi_worker needs the environment variable "
            f"TF_CONFIG, one per worker, such as {example}"
        )
    try:
        parsed = json_files.parse(value, "TF_CONFIG")
        complete = parsed["cluster"] and parsed["task"]["type"]
        complete = complete and parsed["task"]["index"] >= 0
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"TF_CONFIG is {value!r} ({error}); wanted JSON such as {example}"
        ) from error
    if not complete:
        raise UserError(f"TF_CONFIG is {value!r}; wanted JSON such as {example}")


def _tpu_strategy(config):
    name = config.tpu_name or config.master
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            name, zone=config.tpu_zone, project=config.gcp_project
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, OSError, tf.errors.OpError) as error:
        given = f"--tpu_name={name}" if name else "no --tpu_name"
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"a TPU is asked for (--use_tpu, --distribution_strategy=tpu), but with "
            f"{given} none was reached: {reason}"
        ) from error
    strategy = tf.distribute.TPUStrategy(resolver)
    if strategy.num_replicas_in_sync != config.num_tpu_cores:
        raise UserError(
            f"the TPU has {strategy.num_replicas_in_sync} cores; "
            f"--num_tpu_cores is {config.num_tpu_cores}"
        )
    return strategy
