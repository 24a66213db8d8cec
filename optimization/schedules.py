"""Learning rates as functions of the step: the parent's and those of other systems."""

import dataclasses
import itertools
import math

import tensorflow as tf

from errors import UserError

DECAYS = (
    *("linear", "cosine", "constant"),
    *("warmup_linear", "warmup_cosine", "warmup_constant"),
    *("slanted", "inverse_sqrt"),
)
_OPENAIS, _ULMFITS, _XLMS = "warmup_", "slanted", "inverse_sqrt"
_RATIO = 32  # of the highest rate to the lowest; Howard and Ruder 2018, section 3.2


def warmup_steps(decay: str, num_train_steps: int, proportion: float) -> float:
    """Returns how many steps a share of a run is.

    OpenAI's schedules (opt.py) compare shares of the run, so that a warm-up may end
    between two steps, and ULMFiT's needs the share; with all others it is cut to whole
    steps, as in the parent.

    Args:
      decay: one of DECAYS.
      num_train_steps: of the run.
      proportion: of them that warm up, 0 to 1.
    """
    steps = num_train_steps * proportion
    return steps if decay.startswith((_OPENAIS, _ULMFITS)) else int(steps)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A learning rate as a function of the step: warm-up, then decay to zero.

    As in the parent, the decay counts from step 0 and not from the end of the
    warm-up, so the rate drops a little where the warm-up ends. OpenAI's schedules of
    the same shapes differ in two things: the last step of the warm-up, at the full
    rate, is step `num_warmup_steps` itself, and "warmup_linear" decays during the
    warm-up too, so that it has no drop. ULMFiT's slanted triangle is none of them, see
    `_slanted`, nor is XLM's, which never reaches zero, see `_inverse_sqrt`.

    Attributes:
      init_lr: the peak learning rate, without unit.
      num_train_steps: the step at which the rate reaches zero.
      num_warmup_steps: steps of linear warm-up, see `warmup_steps`; 0 for none.
      decay: "linear", "cosine" (half a period) or "constant"; OpenAI's are
        "warmup_linear", "warmup_cosine" and "warmup_constant", ULMFiT's "slanted" and
        XLM's "inverse_sqrt".
      warmup_init_lr: XLM's rate of the first step.
    """

    init_lr: float
    num_train_steps: int
    num_warmup_steps: float = 0
    decay: str = "linear"
    warmup_init_lr: float = 1e-7

    def __post_init__(self):
        """Raises ValueError on an unknown decay or an impossible number of steps."""
        if self.decay not in DECAYS:
            raise UserError(f"decay is {self.decay!r}; it must be one of {DECAYS}")
        if self.num_train_steps < 1:
            raise UserError(f"num_train_steps is {self.num_train_steps}; at least 1")

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of the update number `step`.

        Args:
          step: integer [], counted from 0 before the update.

        Returns:
          float32 [].
        """
        step = tf.cast(step, tf.float32)
        if self.decay == _ULMFITS:
            return self._slanted(step)
        if self.decay == _XLMS:
            return self._inverse_sqrt(step)
        progress = tf.minimum(step / self.num_train_steps, 1.0)
        if self.decay.endswith("linear"):
            rate = self.init_lr * (1.0 - progress)
        elif self.decay.endswith("cosine"):
            rate = self.init_lr * 0.5 * (1.0 + tf.cos(math.pi * progress))
        else:
            rate = self.init_lr * tf.ones_like(progress)
        if not self.num_warmup_steps:
            return rate
        warmup = self.init_lr * step / self.num_warmup_steps
        if not self.decay.startswith(_OPENAIS):
            return tf.where(step < self.num_warmup_steps, warmup, rate)
        if self.decay == "warmup_linear":
            warmup *= 1.0 - progress
        return tf.where(step <= self.num_warmup_steps, warmup, rate)

    def _slanted(self, step):
        """The slanted triangular rate (Howard and Ruder 2018, equation 3).

        cut = floor(T cut_frac);  p = t / cut up to there, then
        1 - (t - cut) / (cut (1 / cut_frac - 1));  rate (1 + p (ratio - 1)) / ratio

        Where T cut_frac is no whole number, p falls below 0 before T: not here.
        """
        rising = max(self.num_warmup_steps, 1)
        cut = math.floor(rising)
        falling = max(cut * (self.num_train_steps / rising - 1), 1)
        p = tf.where(step < cut, step / cut, 1 - (step - cut) / falling)
        return self.init_lr * (1 + tf.maximum(p, 0.0) * (_RATIO - 1)) / _RATIO

    def _inverse_sqrt(self, step):
        """XLM's rate (optim.py, AdamInverseSqrtWithWarmup), with w steps of warm-up.

        A line from `warmup_init_lr` to the peak, then peak sqrt(w / t)
        """
        warmup = max(self.num_warmup_steps, 1)
        rise = (self.init_lr - self.warmup_init_lr) / warmup
        falling = self.init_lr * tf.sqrt(warmup / tf.maximum(step, 1.0))
        return tf.where(step < warmup, self.warmup_init_lr + rise * step, falling)


@dataclasses.dataclass(frozen=True)
class Coefficient:
    """A factor as a function of the step: straight lines between known values.

    Attributes:
      steps: ascending, the first one 0; from the last one on its value stays.
      values: 0 or more, one for each.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> "Coefficient":
        """Reads a number, or steps with their values, as `0:1,1000:0` (XLM's).

        Raises:
          UserError: it is neither.
        """
        parts = [part.split(":") for part in text.split(",")]
        if len(parts) == 1 and len(parts[0]) == 1:
            parts = [["0", *parts[0]]]
        try:
            steps, values = zip(*((int(a), float(b)) for a, b in parts), strict=True)
        except ValueError:
            raise UserError("wanted a number, or steps as in 0:1,1000:0") from None
        if steps[0] != 0 or any(a >= b for a, b in itertools.pairwise(steps)):
            raise UserError("wanted steps that begin with 0 and ascend")
        if not all(0 <= value < math.inf for value in values):
            raise UserError("wanted values of 0 or more")
        return cls(steps, values)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the factor of the update number `step`; see Schedule."""
        step = tf.cast(step, tf.float32)
        found = tf.constant(self.values[-1], tf.float32)
        knots = zip(self.steps, self.values, strict=True)
        for (a, first), (b, second) in reversed(list(itertools.pairwise(knots))):
            line = first + (step - a) * (second - first) / (b - a)
            found = tf.where(step < b, line, found)
        return found

    def changes(self) -> list[int]:
        """Returns the steps from which on it may be zero, or no longer."""
        return sorted({0, *self.steps, *(step + 1 for step in self.steps)})
