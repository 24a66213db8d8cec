"""The training loop: update, evaluate, save, and stop when asked; resumes exactly."""

import os
import sys
import time
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

import modeling
from checkpoints.files import write_text
from data_pipeline import record_faults
from data_pipeline.batching import ByPieces
from errors import UserError
from modeling.layers import base
from tasks.task import Records, Task
from training import state
from training.best import Best
from training.config import TrainingConfig
from training.evaluation import Evaluator, distribute
from training.progress import Progress, write_results
from training.signals import TERMINATED, StopSignal
from training.step import StepConfig, TrainStep
from training.strategy import is_chief, num_workers

BEST = state.BEST
_RESUMABLE = 2  # newest checkpoints of a training that goes on: one may get damaged
_SECONDS_PER_CALL = 1.0
_POLICIES = {
    "off": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


class Trainer:
    """Trains and evaluates one model of one task.

    Attributes:
      evaluated: what the last evaluation predicted; None before the first.
    """

    def __init__(
        self, task: Task, strategy: tf.distribute.Strategy, config: TrainingConfig
    ):
        """Builds the model; see `initialize` and `restore`.

        Args:
          task: what to learn.
          strategy: where to compute.
          config: how to train.

        Raises:
          UserError: see TrainingConfig.check_batch.
        """
        config.check_batch(strategy.num_replicas_in_sync, task.asks_replicas)
        self._task, self._strategy, self._config = task, strategy, config
        self._chief = is_chief(strategy)
        self._moments: Set[str] = frozenset()
        self.evaluated: Mapping[str, Any] | None = None
        with strategy.scope(), base.drawn_later():
            self.model = task.build_model(
                dtype=_POLICIES[config.mixed_precision],
                fused=not (
                    config.jit_compile
                    or isinstance(strategy, tf.distribute.TPUStrategy)
                ),
                seed=config.seed,
            )
            parts = task.parts or {"": task}
            self._evaluators = {
                name: Evaluator(part, self.model) for name, part in parts.items()
            }

    def train(
        self, train: Records, dev: Records | None, settings: Mapping[str, Any]
    ) -> dict[str, float] | None:
        """Trains to the last step, from the newest checkpoint if there is one.

        Args:
          train: training examples.
          dev: examples to evaluate on while training; None for none.
          settings: what shaped the task, to refuse a folder of another training.

        Returns:
          The scores on `dev` of the model as it now is, if it was evaluated.

        Raises:
          UserError: the folder holds a training with other settings.
          FloatingPointError: the loss is not finite.
          SystemExit: the process was terminated; the state is saved.
        """
        config = self._config
        if self._chief:
            self._prepare_folder(settings)
        with self._strategy.scope():
            best = Best(config.early_stopping_patience, config.learning_rate_drops)
            updates = self._make_updates()
        updates.optimizer.schedule = best.schedule(updates.optimizer.schedule)
        variables = updates.state | best.state
        self._moments = updates.optimizer.slots.keys()
        newest = state.restore_newest(
            config.output_dir, variables, self._moments, config.num_train_steps
        )
        if newest is None:
            self.initialize()
        else:
            logging.info("resumed from %s", newest)
        first = int(updates.global_step.numpy())
        if dev:
            self._check_best(best)
        # A run that ended between saving and evaluating evaluates first.
        outstanding = dev and first and self._due(first, config.eval_steps)
        outstanding = outstanding and not best.is_known(first)
        complete = first >= config.num_train_steps or best.exhausted
        if complete:
            logging.info("training is complete: %s", newest)
            if not outstanding:
                return None
        events_dir = os.path.join(config.output_dir, "events") if self._chief else None
        scores = None
        with Progress(first, config.num_train_steps, events_dir) as progress:
            if outstanding:
                scores = self._follow(first, dev, best, progress, variables)
            if not (complete or best.exhausted):
                scores = self._go_on(updates, train, dev, best, progress, variables)
        return scores

    def _go_on(self, updates, train, dev, best, progress, variables):
        """Makes the updates that are left; returns as `train`."""
        config, scores = self._config, None
        first = int(updates.global_step.numpy())
        batches = self._iterator(train, first)
        for step, stopping in self._run(updates, batches, first, train, progress):
            if self._due(step, config.save_checkpoints_steps):
                self._save(variables)
            scores = None
            if dev and self._due(step, config.eval_steps):
                scores = self._follow(step, dev, best, progress, variables)
            if stopping:
                self._save(variables)
                logging.info("terminated at step %d; the state is saved", step)
                sys.exit(TERMINATED)
            if best.exhausted:
                logging.info("step %d: no better score since; stopped", step)
                break
        return scores

    def _prepare_folder(self, settings):
        """Writes what stands beside the checkpoints, if this training belongs there."""
        folder = self._config.output_dir
        tf.io.gfile.makedirs(folder)
        state.check_settings(folder, {**settings, **self._config.settings()})
        self._task.save_beside(folder)
        write_text(os.path.join(folder, "flags.txt"), self._config.flags)

    def initialize(self) -> None:
        """Sets the model from the task's initial checkpoint."""
        variables = modeling.named_variables(self.model)
        self._task.initialize(variables)
        base.draw(variables.values())

    def restore(self, prefix: str) -> None:
        """Sets the model, not the optimizer, from a checkpoint of this run."""
        state.restore(prefix, modeling.named_variables(self.model))

    def restore_newest(self, folder: str) -> str | None:
        """As `restore`, from the newest checkpoint; see state.restore_newest."""
        return state.restore_newest(folder, modeling.named_variables(self.model))

    def evaluate(self, records: Records) -> dict[str, float]:
        """Scores the model as it is on labelled examples."""
        self.evaluated = self.predict(records, self._config.eval_batch_size)
        return self._task.metrics(self.evaluated)

    def predict(self, records: Records, batch_size: int) -> dict[str, np.ndarray]:
        """Predicts for every example, in order; see Evaluator.predict.

        Of a task of several, `records` and what is returned are by their names.
        """
        base.draw(modeling.named_variables(self.model).values())  # if it never was set
        if not self._task.parts:
            return self._evaluators[""].predict(records, batch_size)
        return {
            name: self._evaluators[name].predict(found, batch_size)
            for name, found in records.items()
        }

    def _follow(self, step, dev, best, progress, variables):
        """Evaluates while training, and keeps the best checkpoint.

        Returns:
          The scores; None where the model is no longer the one that was scored.
        """
        scores = self.evaluate(dev)
        progress.events(step, scores, prefix="eval")
        logging.info("step %d: %s", step, scores)
        if best.update(step, scores[self._task.main_metric]):
            self._save_best(step, scores)
        if not best.exhausted:
            return scores
        if not best.drop():
            self._save(variables)  # so that another run knows
            return scores
        logging.info("step %d: no better score since; the learning rate falls", step)
        self.restore_newest(os.path.join(self._config.output_dir, BEST))
        self._save(variables)
        return None

    def _check_best(self, best):
        folder = os.path.join(self._config.output_dir, BEST)
        if best.found and state.latest(folder) is None:
            raise UserError(
                f"{folder} has no checkpoint, but the training that is there kept its "
                "best model in it: put it back, or give another --output_dir"
            )

    def _make_updates(self):
        config = self._config
        variables = modeling.named_variables(self.model)
        optimizer = config.optimizer.build(
            {name: v for name, v in variables.items() if v.trainable},
            config.num_train_steps,
            self._task.parameter_groups(config.optimizer),
        )
        step_config = StepConfig(
            seed=config.seed,
            max_grad_norm=config.optimizer.max_grad_norm,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            scale_loss=config.mixed_precision == "float16",
            jit_compile=config.jit_compile,
        )
        rows = 0 if config.train_batch_pieces else config.train_batch_size
        return TrainStep(self._task, self.model, optimizer, step_config, rows)

    def _iterator(self, train, start_step):
        """Opens what the updates read; see TrainStep."""
        parts = self._task.parts.items()
        if not parts:
            return iter(self._batches(train, start_step))
        turns, past = self._turns(train, start_step)
        streams = [self._batches(train[k], past[k], part) for k, part in parts]
        return iter(turns), [iter(stream) for stream in streams]

    def _turns(self, train, step):
        config = self._config
        return self._task.turns(
            train, batch_size=config.train_batch_size, seed=config.seed, step=step
        )

    def _batches(self, train, start_step, task=None):
        return distribute(
            self._strategy,
            lambda **shard: self._train_batches(train, start_step, task, **shard),
        )

    def _train_batches(self, train, start_step, task=None, **shard):
        config = self._config
        batch_size = config.train_batch_size
        if config.train_batch_pieces:
            batch_size = ByPieces(batch_size, config.gradient_accumulation_steps)
        return (task or self._task).train_batches(
            train,
            batch_size=batch_size,
            seed=config.seed,
            start_step=start_step,
            **shard,
        )

    def _run(self, updates, batches, step, train, progress):
        """Makes updates; yields (step, whether to stop) after every device call."""
        num_steps = 1
        with StopSignal() as signals, _Profiler(self._config) as profiler:
            while step < self._config.num_train_steps:
                num_steps = min(num_steps, self._steps_to_event(step))
                profiler.before(step)
                started = time.monotonic()
                with self._faults_named(train):
                    losses, norms, stopping = updates.run(
                        batches,
                        tf.constant(num_steps),
                        tf.constant(int(signals.received)),
                    )
                    losses, norms = losses.numpy(), norms.numpy()
                seconds = time.monotonic() - started
                self._check_finite(updates, losses, norms, step, train)
                step += num_steps
                profiler.after(step)
                rate = num_steps * self._config.train_batch_size / seconds
                scalars = {
                    "loss": float(losses.mean()),
                    "gradient_norm": float(norms[-1]),
                    "learning_rate": float(updates.optimizer.schedule(step - 1)),
                    "examples_per_second": rate,
                }
                progress.steps(step, scalars)
                yield step, int(stopping) > 0
                num_steps = self._next_call(num_steps, seconds)

    def _faults_named(self, train):
        parts = self._task.parts
        pairs = [(part, train[name]) for name, part in parts.items()]
        pairs = pairs or [(self._task, train)]
        return record_faults.named([(r.files, t.feature_spec) for t, r in pairs])

    def _next_call(self, num_steps, seconds):
        """Chooses how many updates to make in one call: about a second's worth."""
        if num_workers(self._strategy) > 1:
            return 1  # workers must agree without asking each other
        wanted = int(num_steps * _SECONDS_PER_CALL / max(seconds, 1e-3))
        return max(1, min(wanted, 2 * num_steps, self._config.iterations_per_loop))

    def _steps_to_event(self, step):
        config = self._config
        events = [config.num_train_steps, *(config.profile_steps or ())]
        for every in (config.eval_steps, config.save_checkpoints_steps):
            if every:
                events.append((step // every + 1) * every)
        return min(event for event in events if event > step) - step

    def _due(self, step, every):
        return step == self._config.num_train_steps or (every and step % every == 0)

    def _save(self, variables):
        if not self._chief:
            return
        config = self._config
        step = int(variables["global_step"].numpy())
        if step == config.num_train_steps and config.keep_optimizer == "last":
            variables = {n: v for n, v in variables.items() if n not in self._moments}
        state.save(config.output_dir, variables, config.keep_checkpoint_max)
        if config.keep_optimizer == "last":
            state.thin_out(config.output_dir, self._moments, _RESUMABLE)

    def _save_best(self, step, scores):
        if not self._chief:
            return
        folder = os.path.join(self._config.output_dir, BEST)
        self._task.save_beside(folder)
        variables = modeling.named_variables(self.model)
        state.save(folder, {**variables, "global_step": tf.constant(step)}, keep=1)
        path = os.path.join(folder, "eval_results.txt")
        write_results(path, {**scores, "global_step": step})

    def _turn(self, train, step):
        """Returns the task an update is of, its records and the batches before."""
        if not self._task.parts:
            return self._task, train, step
        turns, past = self._turns(train, step)
        name = list(self._task.parts)[int(next(iter(turns)))]
        return self._task.parts[name], train[name], past[name]

    def _check_finite(self, updates, losses, norms, first_step, train):
        """Names the examples of the first batch whose loss is not finite."""
        finite = np.isfinite(losses) & np.isfinite(norms)
        if finite.all() or updates.recovers_from_overflow():
            return
        step = first_step + int(np.flatnonzero(~finite)[0])
        task, train, position = self._turn(train, step)
        batch = next(iter(self._train_batches(train, position, task)))
        examples = task.describe_examples(batch["example_index"].numpy())
        raise FloatingPointError(
            f"step {step}: the loss is {losses[step - first_step]}, the gradient norm "
            f"{norms[step - first_step]}; the last checkpoint is kept. The batch was:\n"
            + "\n".join(f"  {example}" for example in examples)
        )


class _Profiler:
    """Profiles the updates asked for, into the output folder's events."""

    def __init__(self, config):
        self._first, self._last = config.profile_steps or (None, None)
        self._folder = os.path.join(config.output_dir, "events")
        self._active = False

    def before(self, step):
        if step == self._first:
            tf.profiler.experimental.start(self._folder)
            self._active = True

    def after(self, step):
        if self._active and step >= self._last:
            self._stop()

    def _stop(self):
        tf.profiler.experimental.stop()
        self._active = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._active:
            self._stop()
