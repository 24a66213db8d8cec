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

import tensorflow as tf

from errors import UserError
from optimization.groups import ParameterGroup, assign_groups
from optimization.schedules import Schedule

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
        self.slots = {}
        for name, variable in self.trainable.items():
            for slot, value in self.initial_slots.items():
                self.slots[f"{name}/{slot}"] = tf.Variable(
                    tf.fill(variable.shape, value), trainable=False, name=slot
                )

    @abc.abstractmethod
    def _make_rule(self, step: tf.Tensor) -> Callable[..., None]:
        """Returns what updates a variable: (w, g, *slots, lr, decay) -> None."""

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
    ) -> None:
        """Updates the trainable variables; call it from every replica.

        Args:
          gradients: float32, in the order of `self.trainable`, already summed over
            replicas, and `thawed`; where the rule leaves other rows, they may be
            tf.IndexedSlices of rows that differ from one another.
          step: integer [], the number of updates made before this one.
          enabled: bool []; False leaves every variable as it is.
        """
        context = tf.distribute.get_replica_context()
        context.merge_call(self._apply, args=(list(gradients), step, enabled))

    def _apply(self, strategy, gradients, step, enabled):
        step = strategy.experimental_local_results(step)[0]
        if enabled is not None:
            enabled = strategy.experimental_local_results(enabled)[0]
        rate = self.schedule(step)
        firsts = {group.first_step for group in self.groups.values()}
        # What is trained later begins then, as if there had been no update before.
        rules = {
            first: self._make_rule(tf.maximum(step - first, 0) if first else step)
            for first in firsts
        }
        for (name, variable), gradient in zip(
            self.trainable.items(), gradients, strict=True
        ):
            group = self.groups[name]
            lr, first = rate * group.lr_multiplier, group.first_step
            if first:
                lr = tf.where(step >= first, lr, 0.0)
            change = functools.partial(rules[first], lr=lr, decay=group.weight_decay)

            def update(*values, change=change):
                if enabled is None:
                    change(*values)
                else:
                    tf.cond(enabled, lambda: change(*values), lambda: None)

            slots = [self.slots[f"{name}/{slot}"] for slot in self.initial_slots]
            strategy.extended.update(variable, update, args=(gradient, *slots))


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

    def _rule(self, step):
        """Returns beta_1^t, beta_2^t, epsilon, and the factor on the decay's rate.

        ResourceApplyAdam takes the first three: its update is
        rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).
        """
        if not self.bias_correction:
            return 0.0, 0.0, self.epsilon, 1.0
        power = tf.cast(step + 1, tf.float32)
        beta_1_power = tf.pow(self.beta_1, power)
        beta_2_power = tf.pow(self.beta_2, power)
        # TensorFlow adds epsilon before the correction, the paper after it.
        epsilon = self.epsilon * tf.sqrt(1.0 - beta_2_power)
        return beta_1_power, beta_2_power, epsilon, 1.0

    def _make_rule(self, step):
        beta_1_power, beta_2_power, epsilon, decay_factor = self._rule(step)

        def adam(w, g, m, v, *, lr, decay):
            if decay:
                w.assign_sub(lr * decay_factor * decay * w)
            tf.raw_ops.ResourceApplyAdam(
                var=w.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=lr,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=epsilon,
                grad=g,
            )

        return adam


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

    def _rule(self, step):
        beta_1_power, beta_2_power, *_ = super()._rule(step)
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

    def _rule(self, step):
        *rule, _ = super()._rule(step)
        return *rule, 1.0


class AdamaxOptimizer(Optimizer):
    """Adamax (Kingma and Ba 2015, section 7.1) with decoupled weight decay.

    m <- b1 m + (1-b1) g;  u <- max(b2 u, |g|)
    w <- w - rate decay w - rate / (1-b1^t) m / (u + eps)

    MT-DNN's AdamaxW. As in TensorFlow and Keras, and other than in torch, epsilon is
    not in the maximum: where gradients are far above it, that is the same.
    """

    initial_slots: ClassVar[Mapping[str, float]] = {"adamax_m": 0.0, "adamax_u": 0.0}
    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-8

    def _make_rule(self, step):
        beta_1_power = tf.pow(self.beta_1, tf.cast(step + 1, tf.float32))

        def adamax(w, g, m, u, *, lr, decay):
            if decay:
                w.assign_sub(lr * decay * w)
            tf.raw_ops.ResourceApplyAdaMax(
                var=w.handle,
                m=m.handle,
                v=u.handle,
                beta1_power=beta_1_power,
                lr=lr,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=g,
            )

        return adamax


class AdagradOptimizer(Optimizer):
    """Adagrad (Duchi et al. 2011), without decay: v <- v + g^2; w <- w - rate g / v^.5.

    v, the slot `<variable>/Adagrad`, starts from 1.0, as in bilm-tf.
    """

    initial_slots: ClassVar[Mapping[str, float]] = {"Adagrad": 1.0}
    leaves_other_rows = True

    def _make_rule(self, step):
        del step

        def adagrad(w, g, v, *, lr, decay):
            del decay
            shared = {"var": w.handle, "accum": v.handle, "lr": lr, "epsilon": 0.0}
            if isinstance(g, tf.IndexedSlices):
                tf.raw_ops.ResourceSparseApplyAdagradV2(
                    **shared, grad=g.values, indices=g.indices
                )
            else:
                tf.raw_ops.ResourceApplyAdagradV2(**shared, grad=g)

        return adagrad
