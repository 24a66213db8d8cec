"""Train, evaluate, predict: one run, or several that differ in their seed only."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

import folder_lock
from atomic_files import remove_left_behind
from checkpoints.files import BEST_SEED, write_json
from errors import UserError
from tasks.task import Records, Task
from training import layer_weights, state
from training.config import TrainingConfig
from training.progress import write_results
from training.strategy import is_chief
from training.trainer import BEST, Trainer

RESULTS_FILE = "eval_results.txt"
Predictions = Mapping[str, np.ndarray]
Scores = Mapping[str, float]
WritePredictions = Callable[[str, str, Predictions], Scores | None]


@dataclasses.dataclass(frozen=True)
class Data:
    """The examples of a run.

    Attributes:
      train: None where the run does not train.
      dev: name -> examples to score; the first, named "", is the main set and is
        evaluated during training too.
      test: name -> examples to predict; they may be those of `dev` again.
    """

    train: Records | None
    dev: Mapping[str, Records]
    test: Mapping[str, Records]


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What a model said of a set.

    Attributes:
      folder: where its files go.
      split: "eval" or "predict".
      set_name: "" of the main set.
      checkpoint: the name of the model's checkpoint; None: that of the initial one.
      predictions: of the set's examples.
      scores: theirs; {} where right answers are not known.
    """

    folder: str
    split: str
    set_name: str
    checkpoint: str | None
    predictions: Predictions
    scores: Scores


@dataclasses.dataclass(frozen=True)
class Run:
    """All that one run needs beside its seed and folder.

    Attributes:
      task: what to learn.
      strategy: where to compute.
      data: the examples.
      settings: what shaped the task; see Trainer.train.
      use_checkpoint: "last" or "best": which is evaluated and predicts.
      predict_batch_size: as TrainingConfig.eval_batch_size, of predictions.
      write_predictions: called with (folder, set's name, predictions); returns their
        scores where right answers are known; None where there is nothing to predict.
      report: called after every last evaluation of a set, and every prediction.
      use_initial: whether a folder without a trained checkpoint is no error: the
        model is used as it is before any training.
    """

    task: Task
    strategy: tf.distribute.Strategy
    data: Data
    settings: Mapping[str, Any]
    use_checkpoint: str = "last"
    predict_batch_size: int = 8
    write_predictions: WritePredictions | None = None
    report: Callable[[Predicted], None] | None = None
    use_initial: bool = False

    def run(self, config: TrainingConfig) -> dict[str, float]:
        """Trains, evaluates and predicts as far as there are data for it.

        Args:
          config: its output_dir is where the run lives.

        Returns:
          The scores on the dev sets, as written to eval_results.txt.

        Raises:
          UserError: there is nothing trained in output_dir, and nothing to train;
            another process writes there, or it is removed meanwhile.
        """
        with self.locked(config.output_dir):
            return self._run(config)

    def _run(self, config):
        started = time.monotonic()
        known = None  # scores of the last checkpoint on the main dev set
        trainer = Trainer(self.task, self.strategy, config)
        if self.data.train:
            main_dev = self.data.dev.get("") if config.eval_steps else None
            known = trainer.train(self.data.train, main_dev, self.settings)
            logging.info("trained in %.1f s", time.monotonic() - started)
        prefix = self._restore(trainer, config.output_dir)
        if self.data.train and is_chief(self.strategy):
            layer_weights.report(trainer.model, config.output_dir)
        if self.use_checkpoint == "best":
            known = None
        scores, computed = self._evaluate(trainer, prefix, config.output_dir, known)
        for name, records in self.data.test.items():
            predictions = computed.get(name)
            if predictions is None:
                predictions = trainer.predict(records, self.predict_batch_size)
            if is_chief(self.strategy):
                folder = config.output_dir
                found = self.write_predictions(folder, name, predictions) or {}
                self._report(folder, "predict", name, prefix, predictions, found)
        return scores

    def _report(self, folder, split, name, prefix, *found):
        if self.report and is_chief(self.strategy):
            checkpoint = prefix and os.path.basename(prefix)
            self.report(Predicted(folder, split, name, checkpoint, *found))

    def run_seeds(self, config: TrainingConfig, num_seeds: int) -> dict[str, float]:
        """Runs once, or with seeds `seed`, `seed` + 1, ... and reports the spread.

        Of several, every run has a folder of its own, `seed_<seed>`, inside output_dir;
        the eval_results.txt there has the mean of each score, and its standard
        deviation over the seeds (of a sample, divided by n - 1) as `<score>_std`. Which
        is the best is kept, so that the folder can be used as that seed's.
        """
        if num_seeds == 1:
            return self.run(config)
        seeds = range(config.seed, config.seed + num_seeds)
        runs = {
            f"seed_{seed}": (self, dataclasses.replace(config, seed=seed))
            for seed in seeds
        }
        scores = run_several(runs, config.output_dir)
        main = self.task.main_metric
        found = {name: score[main] for name, score in scores.items() if main in score}
        if found and is_chief(self.strategy):
            best = max(found, key=found.get)
            folder = f"{best}/{BEST}" if self.use_checkpoint == "best" else best
            path = os.path.join(config.output_dir, BEST_SEED)
            write_json(path, {"folder": folder, main: found[best]})
        return mean_scores(list(scores.values()))

    @contextlib.contextmanager
    def locked(self, output_dir: str) -> Iterator[None]:
        """Keeps other runs out of a folder, and removes what killed ones left in it."""
        if not is_chief(self.strategy):  # writes nothing
            yield
            return
        with folder_lock.hold(output_dir):
            for folder in (output_dir, os.path.join(output_dir, BEST)):
                remove_left_behind(folder)
            yield

    def _restore(self, trainer, output_dir):
        """Sets the model from the checkpoint asked for; returns its prefix, if any."""
        if self.use_initial and not state.latest(output_dir):
            trainer.initialize()
            self.task.restored(None)
            return None
        best = self.use_checkpoint == "best"
        folder = os.path.join(output_dir, BEST) if best else output_dir
        prefix = trainer.restore_newest(folder)
        if prefix is None:
            raise UserError(
                f"{folder} holds no trained checkpoint: train first, with --do_train"
                + (" and --do_eval" if best else "")
            )
        self.task.restored(prefix)
        return prefix

    def _evaluate(self, trainer, prefix, output_dir, known):
        """Scores the dev sets; keeps the outputs for those that are predicted too."""
        scores, computed, reports = {}, {}, []
        for name, records in self.data.dev.items():
            if known and not name:
                found = known
            elif self.data.test.get(name) == records:
                computed[name] = trainer.predict(records, self.predict_batch_size)
                found = self.task.metrics(computed[name])
            else:
                found = trainer.evaluate(records)
            predictions = computed.get(name, trainer.evaluated)
            reports.append((name, prefix, predictions, found))
            start = f"{name}_" if name else ""
            scores |= {start + score: value for score, value in found.items()}
        if scores:
            scores["global_step"] = state.step_of(prefix) if prefix else 0
            self.write_scores(output_dir, scores, "Eval results")
        for report in reports:  # of what is written already
            self._report(output_dir, "eval", *report)
        return scores, computed

    def write_scores(
        self, output_dir: str, results: Mapping[str, float], heading: str
    ) -> None:
        """Logs scores and writes them to the folder's eval_results.txt."""
        if not is_chief(self.strategy):
            return
        logging.info("***** %s *****", heading)
        for name in sorted(results):
            logging.info("  %s = %s", name, results[name])
        write_results(os.path.join(output_dir, RESULTS_FILE), results)


def run_several(
    runs: Mapping[str, tuple[Run, TrainingConfig]], output_dir: str
) -> dict[str, dict[str, float]]:
    """Makes several runs, one after the other, and reports the spread of their scores.

    Args:
      runs: folder inside output_dir -> what runs there, and how it trains.
      output_dir: its eval_results.txt is written as `mean_scores` says.

    Returns:
      folder -> the scores of its run.
    """
    first, _ = next(iter(runs.values()))
    scores = {}
    with first.locked(output_dir):
        for name, (run, config) in runs.items():
            folder = os.path.join(output_dir, name)
            logging.info("***** %s: %s *****", name, folder)
            scores[name] = run.run(dataclasses.replace(config, output_dir=folder))
        if means := mean_scores(list(scores.values())):
            heading = f"Eval results: means of {len(runs)} runs, and deviations"
            first.write_scores(output_dir, means, heading)
    return scores


def mean_scores(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the mean of each score, and as `<score>_std` its standard deviation."""
    results = {}
    for name in scores[0]:
        values = [score[name] for score in scores]
        results[name] = float(np.mean(values))
        if name != "global_step":
            results[f"{name}_std"] = float(np.std(values, ddof=1))
    return results
