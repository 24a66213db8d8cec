"""XLM's pre-training (Lample and Conneau 2019, section 3): CLM, MLM and TLM, mixed.

Every update is of one objective and one language, or pair of languages. They are drawn
as in facebookresearch/XLM: rounds of up to five languages and up to five pairs of each
objective, with replacement, in proportion to p^lg_sampling_factor; p is a language's
share of the records, which are of one length, where the original counts sentences.
"""

from collections.abc import Collection, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import tokenization_xlm
from data_pipeline import batching, tfrecord, turns
from data_pipeline.corpora.language_streams import LANGUAGE
from errors import UserError
from optimization.groups import ParameterGroup
from optimization.optimizers import OptimizerConfig
from optimization.schedules import Coefficient
from systems.system import System
from tasks.several import SeveralTasks
from tasks.task import Records
from tasks.xlm_objectives import Causal, Masked, Objective

CLM, MLM = "clm", "mlm"
_DRAWS = 5  # of languages, and of pairs, in a round


class XlmPretrainingTask(SeveralTasks):
    """Objectives on languages and pairs, by turns; parts are named as `mlm/en-de`."""

    options = ("clm_steps", "mlm_steps", "lambda_clm", "lambda_mlm")
    options += ("lg_sampling_factor", "sample_alpha")

    def __init__(
        self,
        system: System,
        max_seq_length: int,
        *,
        clm_steps: Sequence[str],
        mlm_steps: Sequence[str],
        lambda_clm: str,
        lambda_mlm: str,
        lg_sampling_factor: float,
        sample_alpha: float,
        **kwargs: bool,
    ):
        """Makes the objectives; while its factor is 0, one is left out.

        Args:
          system: of the model.
          max_seq_length: pieces of the longest record.
          clm_steps: languages, or pairs as `en-de`, to learn the next word of.
          mlm_steps: the same of masked words. Without any steps: every language.
          lambda_clm: factor on the loss; see Coefficient.parse.
          lambda_mlm: the same of masked words.
          lg_sampling_factor: how far small languages are drawn less often: a share p
            becomes p to the power of this; -1: all alike.
          sample_alpha: words are chosen for masking in proportion to their count to
            the power of minus this; 0: all alike.
          **kwargs: see PretrainingTask.

        Raises:
          UserError: the model does not know a language, nothing is left to learn, or
            the vocabulary does not tell how often words occur.
        """
        if not (clm_steps or mlm_steps):
            mlm_steps = system.config.languages
        scores = _scores(system, sample_alpha) if sample_alpha else None
        shared = {**kwargs, "system": system, "max_seq_length": max_seq_length}
        given = f"--lambda_clm={lambda_clm} --lambda_mlm={lambda_mlm}"
        factors = {CLM: Coefficient.parse(lambda_clm)}
        factors[MLM] = Coefficient.parse(lambda_mlm)
        parts: dict[str, Objective] = {}
        for name in clm_steps if any(factors[CLM].values) else ():
            parts[f"{CLM}/{name}"] = Causal(
                language=name, factor=factors[CLM], **shared
            )
        for name in mlm_steps if any(factors[MLM].values) else ():
            parts[f"{MLM}/{name}"] = Masked(
                language=name, factor=factors[MLM], scores=scores, **shared
            )
        if not parts:
            raise UserError(f"{given}: nothing is left to learn")
        self._stages = _stages(parts)
        for step, _, active in self._stages:
            if not active:
                raise UserError(
                    f"{given}: nothing is left to learn from update {step} on"
                )
        super().__init__(parts)
        self.system = system
        self._any = next(iter(parts.values()))
        self.feature_spec = self._any.feature_spec
        self._lg_sampling_factor = lg_sampling_factor

    def train_records(self, files: Sequence[str]) -> dict[str, Records]:
        """Says which files each part learns from.

        Args:
          files: TFRecord files of create_pretraining_data.py, each of one language or
            pair.

        Returns:
          Name of a part -> its records, counted.

        Raises:
          UserError: see PretrainingTask.train_records; there are no records for a part.
        """
        groups = self._groups(files)
        for name, part in self.parts.items():
            if part.language not in groups:
                raise UserError(
                    f"--{name.partition('/')[0]}_steps: no records of {part.language} "
                    f"in --input_file, which has {', '.join(groups)}"
                )
        left = groups.keys() - {part.language for part in self.parts.values()}
        if left:
            logging.warning("no step learns from %s", ", ".join(sorted(left)))
        return self._records(groups, None)

    def eval_records(
        self, files: Sequence[str], max_examples: int | None = None
    ) -> dict[str, Records]:
        """Says which files each part is scored on; parts without any are not.

        Args:
          files: as `train_records`.
          max_examples: of each part, from the first on; None takes all.

        Raises:
          UserError: no part has any, or see PretrainingTask.train_records.
        """
        groups = self._groups(files)
        found = self._records(groups, max_examples)
        if not found:
            raise UserError(
                f"the files to evaluate have {', '.join(groups)}; none of "
                f"{', '.join(self.parts)}"
            )
        return found

    def _groups(self, files):
        """Language or pair -> its files."""
        self._any.train_records(files)  # looks at their beginnings
        groups: dict[str, list[str]] = {}
        for path in files:
            groups.setdefault(_language_of(path), []).append(path)
        return groups

    def _records(self, groups, limit):
        counts = {
            language: tfrecord.count(files, limit) for language, files in groups.items()
        }
        return {
            name: Records(tuple(groups[part.language]), counts[part.language])
            for name, part in self.parts.items()
            if part.language in groups
        }

    def turns(
        self, records: Mapping[str, Records], *, batch_size: int, seed: int, step: int
    ) -> tuple[tf.data.Dataset, dict[str, int]]:
        """Draws objective and language of every update; see SeveralTasks.

        While other objectives are left out, the draws are others, too.
        """
        del batch_size
        names = list(self.parts)
        sizes = [records[name].num_examples for name in names]
        order, past = None, np.zeros(len(names), np.int64)
        for first, end, active in self._stages:
            shares = round_shares(names, sizes, self._lg_sampling_factor, active)
            begin = max(first, step) if end is None else min(max(first, step), end)
            drawn, had = turns.with_replacement(shares, seed, begin)
            past += np.subtract(had, turns.with_replacement(shares, seed, first)[1])
            if end is not None:
                drawn = drawn.take(end - begin)
            order = drawn if order is None else order.concatenate(drawn)
        return batching.finish(order), dict(zip(names, past.tolist(), strict=True))

    def build_model(self, **kwargs) -> keras.layers.Layer:
        """Makes the model that all objectives share; see Task."""
        return self._any.build_model(**kwargs)

    def initialize(self, variables: Mapping[str, keras.Variable]) -> None:
        """Fills it; see Task."""
        self._any.initialize(variables)

    def save_beside(self, folder: str) -> None:
        """Writes the config and, as far as known, what tokenizes."""
        self.system.save_beside(folder)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """The system's."""
        return self.system.parameter_groups(config)

    def describe_examples(self, rows: Sequence[int]) -> list[str]:
        """Is asked of the parts."""
        raise NotImplementedError("an example is of one of the parts")


def _stages(
    parts: Mapping[str, Objective],
) -> list[tuple[int, int | None, frozenset[str]]]:
    """Returns which parts are learnt when: those whose factors are not 0.

    Returns:
      First update, the one after the last, or None, and the parts; in their order.
    """
    found = []
    changes = set().union(*(part.factor.changes() for part in parts.values()))
    for step in sorted(changes):
        active = frozenset(n for n, part in parts.items() if part.factor(step) > 0)
        if not found or found[-1][1] != active:
            found.append((step, active))
    ends = [*(step for step, _ in found[1:]), None]
    return [(step, end, on) for (step, on), end in zip(found, ends, strict=True)]


def round_shares(
    names: Sequence[str],
    sizes: Sequence[int],
    factor: float,
    active: Collection[str] | None = None,
) -> np.ndarray:
    """Returns how likely each part is at each step of a round (the original's loop).

    CLM comes before MLM, and languages before pairs; each of these four is drawn as
    often as it has parts, but five times at most.

    Args:
      names: N parts, as `mlm/en` and `mlm/en-de`.
      sizes: records of each.
      factor: see XlmPretrainingTask.
      active: the others are not drawn; None: all are.

    Returns:
      float64 [R, N].
    """
    rows = []
    for objective in (CLM, MLM):
        for pairs in (False, True):
            members = np.array(
                [
                    name.startswith(f"{objective}/")
                    and ("-" in name) == pairs
                    and (active is None or name in active)
                    for name in names
                ]
            )
            weights = members * np.array(sizes, np.float64)
            if not members.any():
                continue
            share = weights / weights.sum()
            if factor == -1:
                share = members / members.sum()
            else:
                share = np.where(members, share**factor, 0)
            rows += [share / share.sum()] * min(_DRAWS, members.sum())
    return np.array(rows)


def _language_of(path: str) -> str:
    """Reads from a file's first record which language or pair it is of."""
    (record,) = tf.data.TFRecordDataset(path).take(1)
    feature = tf.io.FixedLenFeature([], tf.string, "")
    name = tf.io.parse_single_example(record, {LANGUAGE: feature})[LANGUAGE]
    if not name.numpy():
        raise UserError(
            f"{path}: its records do not say of which language they are, as those of "
            "create_pretraining_data.py --model_type=xlm do"
        )
    return name.numpy().decode()


def _scores(system: System, alpha: float) -> np.ndarray:
    """Says how likely each word is chosen: count^-alpha, and special ones never."""
    given = f"--sample_alpha={alpha:g} needs to know how often words occur"
    if system.vocab_file is None:
        raise UserError(f"{given}: give --vocab_file")
    counts = tokenization_xlm.BytePairs(system.vocab_file, system.config.n_words).counts
    if counts is None:
        raise UserError(
            f"{given}: {system.vocab_file} does not say; give fastBPE's vocabulary"
        )
    counts = np.pad(counts, (0, system.config.n_words - len(counts)))
    scores = np.maximum(counts, 1).astype(np.float64) ** -alpha
    return np.where(counts > 0, scores, 0).astype(np.float32)
