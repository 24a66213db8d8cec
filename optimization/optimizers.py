"""Optimizers.

The parent's recipe (google-research/bert, optimization.py): Adam without bias
correction, decoupled weight decay on everything but layer norms and biases, linear
warm-up then linear decay, gradients clipped to a global norm of 1. And GPT's
(openai/finetune-transformer-lm, opt.py): bias-corrected Adam, decay on matrices only,
three schedules of its own, the same clipping. And ELMo's (allenai/bilm-tf): Adagrad at
a constant rate of 0.2, gradients clipped to a global norm of 10. And ULMFiT's: Adam
that remembers less of the first moment, a slanted triangle, one layer more an epoch.
And XLM's (facebookresearch/XLM, optim.py): bias-corrected Adam under a rate that falls
as one over the root of the step. And MT-DNN's (namisan/mt-dnn, mt_dnn/optim.py):
Adamax, otherwise BERT's.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import tensorflow as tf

from errors import UserError
from optimization.groups import ParameterGroup, assign_groups
from optimization.schedules import Schedule

# Whether an update is compiled. A test that is not about that may do without: each new
# shape takes a moment to make a graph of and to compile. What is computed stays what it
# is.
COMPILED = True
OPTIMIZERS = (
    *("adam_weight_decay", "adamw", "openai_adam", "adagrad", "ulmfit_adam"),
    *("xlm_adam", "adamax"),
)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The knobs of an optimizer, before it meets a model.

    Attributes:
      kind: one of OPTIMIZERS: the parent's Adam, the standard AdamW, OpenAI's Adam,
        Adagrad, which decays no weights, AdamW with ULMFiT's betas, .7 and .99,
        XLM's Adam, or MT-DNN's Adamax.
      learning_rate: peak rate.
      num_warmup_steps: updates of linear warm-up; see schedules.warmup_steps.
      decay: see Schedule.
      weight_decay: decoupled decay of matrices.
      layer_decay: factor on the rate from one layer to the one below.
      finetune_encoder: False trains the head alone.
      max_grad_norm: gradients are scaled down to this global norm.
      unfreeze_steps: updates after which one layer more is trained, from the head down;
        0: all are from the start.
    """

    kind: str = "adam_weight_decay"
    learning_rate: float = 5e-5
    num_warmup_steps: float = 0
    decay: str = "linear"
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    finetune_encoder: bool = True
    max_grad_norm: float = 1.0
    unfreeze_steps: int = 0

    def __post_init__(self):
        """Raises ValueError on an unknown kind."""
        if self.kind not in OPTIMIZERS:
            raise UserError(f"optimizer is {self.kind!r}; it must be in {OPTIMIZERS}")

    def schedule(self, num_train_steps: int) -> Schedule:
        """Returns the learning rate of a run of so many steps."""
        return Schedule(
            self.learning_rate, num_train_steps, self.num_warmup_steps, self.decay
        )

    def build(
        self,
        variables: Mapping[str, tf.Variable],
        num_train_steps: int,
        groups: Sequence[ParameterGroup],
    ) -> "Optimizer":
        """Returns the optimizer of a run of so many steps; see its constructor."""
        schedule = self.schedule(num_train_steps)
        if self.kind == "adagrad":
            return AdagradOptimizer(variables, schedule, groups)
        if self.kind == "openai_adam":
            return OpenAIAdamOptimizer(variables, schedule, groups)
        if self.kind == "xlm_adam":
            return XlmAdamOptimizer(variables, schedule, groups)
        if self.kind == "adamax":
            return AdamaxOptimizer(variables, schedule, groups)
        if self.kind == "ulmfit_adam":
            betas = {"beta_1": 0.7, "beta_2": 0.99}  # section 4.1
            return AdamWeightDecayOptimizer(
                variables, schedule, groups, **betas, bias_correction=True
            )
        return AdamWeightDecayOptimizer(
            variables, schedule, groups, bias_correction=self.kind == "adamw"
        )


def backing_variable(variable) -> tf.Variable:
    """Returns the tf.Variable inside a Keras variable, or the tf.Variable given."""
    return variable if isinstance(variable, tf.Variable) else variable.value


class Optimizer(abc.ABC):
    """Applies a rule to every variable that is trained, identically on every replica.

    What the rule remembers of a variable is in `slots`, as `<variable>/<slot>`. Build
    it inside the strategy's scope.
    """

    initial_slots: ClassVar[Mapping[str, float]]  # slot -> the value it starts from
    # Whether rows of a table whose gradient is zero stay as they are.
    leaves_other_rows: ClassVar[bool] = False

    def __init__(
        self,
        variables: Mapping[str, tf.Variable],
        schedule: Schedule,
        groups: Sequence[ParameterGroup],
    ):
        """Makes the slots of every trainable variable.

        Args:
          variables: name -> variable; keras or tf variables, float32.
          schedule: the learning rate by step.
          groups: parameter groups; see `assign_groups`.

        Raises:
          UserError: groups and variables do not fit, or nothing is trainable.
        """
        self.schedule = schedule
        assigned = assign_groups(variables, groups)
        self.groups = {n: group for n, group in assigned.items() if group.trainable}
        if not self.groups:
            raise UserError("every variable is frozen; there is nothing to train")
        self.trainable = {
            name: backing_variable(variables[name]) for name in self.groups
        }
        self._run_pass = (
            tf.function(self._pass, jit_compile=True, autograph=False)
            if COMPILED
            else self._pass
        )
        self.slots = {}
        for name, variable in self.trainable.items():
            for slot, value in self.initial_slots.items():
                self.slots[f"{name}/{slot}"] = tf.Variable(
                    tf.fill(variable.shape, value), trainable=False, name=slot
                )

    @abc.abstractmethod
    def _corrections(self, step: tf.Tensor) -> Sequence[tf.Tensor | float]:
        """Returns what the rule needs to know of an update, given those made before."""

    @abc.abstractmethod
    def _scalars(
        self, corrections: Sequence, lr: tf.Tensor, decay: float
    ) -> tuple[tf.Tensor | float, ...]:
        """Returns the numbers of `_rule` for variables of one group."""

    @abc.abstractmethod
    def _rule(
        self, w: tf.Tensor, g: tf.Tensor, *slots_and_scalars: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns what a variable and its slots become."""

    def thawed(self, gradients: Sequence, step: tf.Tensor) -> list:
        """Returns gradients with zeros for what is not trained yet.

        Args:
          gradients: float32, in the order of `self.trainable`; none is sparse where a
            group has a `first_step`.
          step: integer [], the number of updates made.
        """
        return [
            tf.where(step >= group.first_step, gradient, 0.0)
            if group.first_step
            else gradient
            for gradient, group in zip(gradients, self.groups.values(), strict=True)
        ]

    def apply(
        self,
        gradients: Sequence[tf.Tensor],
        step: tf.Tensor,
        enabled: tf.Tensor | None = None,
        factor: tf.Tensor | float = 1.0,
    ) -> None:
        """Updates the trainable variables; call it from every replica.

        Args:
          gradients: float32, in the order of `self.trainable`, already summed over
            replicas, and `thawed`; where the rule leaves other rows, they may be
            tf.IndexedSlices of rows that differ from one another.
          step: integer [], the number of updates made before this one.
          enabled: bool []; False leaves every variable as it is.
          factor: float32 [], on all gradients: clipping.
        """
        context = tf.distribute.get_replica_context()
        arguments = (list(gradients), step, enabled, factor)
        context.merge_call(self._apply, args=arguments)

    def _apply(self, strategy, gradients, *arguments):
        step, enabled, factor = (
            x if x is None else strategy.experimental_local_results(x)[0]
            for x in arguments
        )
        scalars = self._scalars_of_groups(step)
        for (name, variable), gradient in zip(
            self.trainable.items(), gradients, strict=True
        ):
            update = functools.partial(
                self._update, factor=factor, scalars=scalars[self.groups[name]]
            )
            slots = [self.slots[f"{name}/{slot}"] for slot in self.initial_slots]
            strategy.extended.update(
                variable, _where(enabled, update), args=(gradient, *slots)
            )

    def _scalars_of_groups(self, step):
        """Returns for each group what `_pass` is told of it, as tensors."""
        rate, found = self.schedule(step), {}
        groups = dict.fromkeys(self.groups.values())
        # What is trained later begins then, as if there had been no update before.
        corrections = {
            first: self._corrections(tf.maximum(step - first, 0) if first else step)
            for first in {group.first_step for group in groups}
        }
        for group in groups:
            lr, first = rate * group.lr_multiplier, group.first_step
            if first:
                lr = tf.where(step >= first, lr, 0.0)
            values = self._scalars(corrections[first], lr, group.weight_decay)
            found[group] = [tf.convert_to_tensor(x, tf.float32) for x in values]
        return found

    def _update(self, w, gradient, *slots, factor, scalars):
        # By their handles: in a graph that is given variables of replicas themselves,
        # TensorFlow 2.21 takes the first ones of a shape for all.
        handles = [variable.handle for variable in (w, *slots)]
        factor = tf.convert_to_tensor(factor, tf.float32)
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(handles, gradient, factor, scalars)
        else:
            gradient = tf.ensure_shape(gradient, w.shape)
            self._run_pass(handles, gradient, factor, scalars)

    def _pass(self, handles, gradient, factor, scalars):
        """Clips, decays, updates: each element is read and written once."""
        w, *slots = (
            tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
            for handle in handles
        )
        values = self._rule(w, gradient * factor, *slots, *scalars)
        for handle, value in zip(handles, values, strict=True):
            tf.raw_ops.AssignVariableOp(resource=handle, value=value)

    def _update_rows(self, handles, gradient, factor, scalars):
        """As `_pass`, of the rows that have a gradient, whose number changes."""
        rows = gradient.indices
        w, *slots = (
            tf.raw_ops.ResourceGather(resource=handle, indices=rows, dtype=tf.float32)
            for handle in handles
        )
        values = self._rule(w, gradient.values * factor, *slots, *scalars)
        for handle, value in zip(handles, values, strict=True):
            tf.raw_ops.ResourceScatterUpdate(
                resource=handle, indices=rows, updates=value
            )


def _where(enabled: tf.Tensor | None, update: Callable[..., None]) -> Callable:
    """Returns what updates if `enabled`."""
    if enabled is None:
        return update
    return lambda *args: tf.cond(enabled, lambda: update(*args), lambda: None)


class AdamWeightDecayOptimizer(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    m <- b1 m + (1-b1) g;  v <- b2 v + (1-b2) g^2
    w <- w - rate (m / (sqrt(v) + eps) + decay w)

    `bias_correction=False` is the parent's AdamWeightDecayOptimizer; True is the
    paper's AdamW, with m / (1-b1^t) and v / (1-b2^t). The first and second moments
    are variables named `<variable>/adam_m` and `<variable>/adam_v`, as the parent's
    checkpoints name them.
    """

    initial_slots: ClassVar[Mapping[str, float]] = {"adam_m": 0.0, "adam_v": 0.0}

    def __init__(
        self,
        *args,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        bias_correction: bool = False,
    ):
        """Makes the moments of every trainable variable.

        Args:
          *args: Optimizer's.
          beta_1: decay of the first moment.
          beta_2: decay of the second moment.
          epsilon: added to the root of the second moment.
          bias_correction: divide the moments by 1 - beta^t.
        """
        super().__init__(*args)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.bias_correction = bias_correction

    def _corrections(self, step):
        """Returns beta_1^t, beta_2^t, epsilon, and the factor on the decay's rate.

        The update is rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).
        """
        if not self.bias_correction:
            return 0.0, 0.0, self.epsilon, 1.0
        power = tf.cast(step + 1, tf.float32)
        beta_1_power = tf.pow(self.beta_1, power)
        beta_2_power = tf.pow(self.beta_2, power)
        # Here epsilon is added before the correction, in the paper after it.
        epsilon = self.epsilon * tf.sqrt(1.0 - beta_2_power)
        return beta_1_power, beta_2_power, epsilon, 1.0

    def _scalars(self, corrections, lr, decay):
        beta_1_power, beta_2_power, epsilon, decay_factor = corrections
        alpha = lr * tf.sqrt(1.0 - beta_2_power) / (1.0 - beta_1_power)
        return alpha, epsilon, lr * decay_factor * decay

    def _rule(self, w, g, m, v, alpha, epsilon, shrink):
        m += (g - m) * _rest(self.beta_1)
        v += (g * g - v) * _rest(self.beta_2)
        return w - shrink * w - m * alpha / (tf.sqrt(v) + epsilon), m, v


class OpenAIAdamOptimizer(AdamWeightDecayOptimizer):
    """Adam as GPT was trained with (openai/finetune-transformer-lm, opt.py).

    rate_t = rate sqrt(1-b2^t) / (1-b1^t)
    w <- w - rate_t (m / (sqrt(v) + eps) + decay w)

    Against AdamW, epsilon joins the root of v before the correction, and the decay
    goes by the corrected rate.
    """

    def __init__(self, *args, epsilon: float = 1e-8, **betas: float):
        """Makes the moments; arguments as of AdamWeightDecayOptimizer."""
        super().__init__(*args, epsilon=epsilon, bias_correction=True, **betas)

    def _corrections(self, step):
        beta_1_power, beta_2_power, *_ = super()._corrections(step)
        factor = tf.sqrt(1.0 - beta_2_power) / (1.0 - beta_1_power)
        return beta_1_power, beta_2_power, self.epsilon, factor


class XlmAdamOptimizer(OpenAIAdamOptimizer):
    """Adam as XLM has it (facebookresearch/XLM, optim.py), with its betas of 2019.

    As OpenAI's, but the decay goes by the rate itself: w <- (1 - rate decay) w, then
    w <- w - rate_t m / (sqrt(v) + eps). Theirs decays vectors, too.
    """

    def __init__(self, *args, beta_2: float = 0.98, **kwargs):
        """Makes the moments; arguments as of OpenAIAdamOptimizer."""
        super().__init__(*args, beta_2=beta_2, **kwargs)

    def _corrections(self, step):
        *corrections, _ = super()._corrections(step)
        return *corrections, 1.0


class AdamaxOptimizer(Optimizer):
    """Adamax (Kingma and Ba 2015, section 7.1) with decoupled weight decay.

    m <- b1 m + (1-b1) g;  u <- max(b2 u, |g|)
    w <- w - rate decay w - rate / (1-b1^t) m / (u + eps)

    MT-DNN's AdamaxW. As in TensorFlow and Keras, and other than in torch, epsilon is
    not in the maximum: where gradients are far above it, that is the same.
    """

    initial_slots: ClassVar[Mapping[str, float]] = {"adamax_m": 0.0, "adamax_u": 0.0}
    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-8

    def _corrections(self, step):
        return (tf.pow(self.beta_1, tf.cast(step + 1, tf.float32)),)

    def _scalars(self, corrections, lr, decay):
        (beta_1_power,) = corrections
        return lr / (1.0 - beta_1_power), lr * decay

    def _rule(self, w, g, m, u, alpha, shrink):
        m += (g - m) * _rest(self.beta_1)
        u = tf.maximum(self.beta_2 * u, tf.abs(g))
        return w - shrink * w - alpha * m / (u + self.epsilon), m, u


class AdagradOptimizer(Optimizer):
    """Adagrad (Duchi et al. 2011), without decay: v <- v + g^2; w <- w - rate g / v^.5.

    v, the slot `<variable>/Adagrad`, starts from 1.0, as in bilm-tf.
    """

    initial_slots: ClassVar[Mapping[str, float]] = {"Adagrad": 1.0}
    leaves_other_rows = True

    def _corrections(self, step):
        del step
        return ()

    def _scalars(self, corrections, lr, decay):
        del corrections, decay
        return (lr,)

    def _rule(self, w, g, v, lr):
        v += g * g
        return w - lr * g / tf.sqrt(v), v


def _rest(beta: float) -> np.float32:
    """1 - beta as float32 has it: .001 less .999 is off by 1e-5 of itself there."""
    return np.float32(1.0) - np.float32(beta)
