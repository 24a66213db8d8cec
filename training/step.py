"""One update: forward, backward, all-reduce, clip, apply; identical on every replica.

Losses are sums over real elements divided by the global count, so several replicas,
several workers and accumulated micro-batches all compute what one device would.
"""

import dataclasses
from collections.abc import Mapping

import keras
import tensorflow as tf

import modeling
from optimization import Optimizer, backing_variable
from tasks.task import Task

_INITIAL_LOSS_SCALE = 2.0**15  # Micikevicius et al. 2018, section 3.2
_LOSS_SCALE_GROWTH_STEPS = 2000


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """How an update is computed.

    Attributes:
      seed: of dropout; replica r uses seed + r.
      gradient_accumulation_steps: micro-batches a batch is computed in.
      max_grad_norm: gradients are scaled down to this global norm.
      scale_loss: keeps float16 gradients in range by a dynamic factor.
      jit_compile: compiles forward and backward pass with XLA.
    """

    seed: int = 0
    gradient_accumulation_steps: int = 1
    max_grad_norm: float = 1.0
    scale_loss: bool = False
    jit_compile: bool = False


class TrainStep:
    """Runs updates on the device; build it inside the strategy's scope.

    Attributes:
      global_step: int64 [], updates made.
      state: name -> variable of all that a resumed run needs, model included.
    """

    def __init__(
        self,
        task: Task,
        model: keras.layers.Layer,
        optimizer: Optimizer,
        config: StepConfig,
        carried: Mapping[str, tf.Tensor] | None = None,
    ):
        """Creates the counters.

        Args:
          task: gives the loss.
          model: what `task.build_model` made.
          optimizer: over the model's variables.
          config: see StepConfig.
          carried: what goes from batch to batch, as it is before the first one; see
            Task.carried_states.
        """
        self.task, self.model, self.optimizer = task, model, optimizer
        self.config = config
        self.strategy = tf.distribute.get_strategy()
        self.global_step = _counter("global_step", 0, tf.int64)
        self.state = {
            name: backing_variable(variable)
            for name, variable in modeling.named_variables(model).items()
        }
        self.state |= optimizer.slots
        self.state["global_step"] = self.global_step
        self._carried = {
            name: _counter(name, value, value.dtype)
            for name, value in (carried or {}).items()
        }
        self.state |= {f"trainer/{name}": v for name, v in self._carried.items()}
        if config.scale_loss:
            self._loss_scale = _counter("loss_scale", _INITIAL_LOSS_SCALE, tf.float32)
            self._good_steps = _counter("good_steps", 0, tf.int64)
            self.state["trainer/loss_scale"] = self._loss_scale
            self.state["trainer/good_steps"] = self._good_steps
        # Autograph has nothing to convert here, and takes seconds to find that out.
        self._forward_backward = tf.function(
            self._forward_backward_eager,
            jit_compile=config.jit_compile,
            autograph=False,
        )
        self.run = tf.function(self._run, autograph=False)

    def _run(self, iterator, num_steps, stop):
        """Makes several updates in one host call; `run` is its compiled form.

        Args:
          iterator: yields per-replica batches.
          num_steps: int32 [], updates to make.
          stop: int32 [], 1 if this worker was asked to stop.

        Returns:
          losses float32 [num_steps], gradient norms float32 [num_steps] (before
          clipping), and float32 [], how many replicas were asked to stop.
        """

        def body(i, losses, norms, _):
            results = self.strategy.run(self._update, args=(iterator.get_next(), stop))
            # Every replica returns the all-reduced value: take the first.
            loss, norm, stopping = (
                self.strategy.experimental_local_results(result)[0]
                for result in results
            )
            return i + 1, losses.write(i, loss), norms.write(i, norm), stopping

        _, losses, norms, stopping = tf.while_loop(
            lambda i, *_: i < num_steps,
            body,
            (
                tf.constant(0),
                tf.TensorArray(tf.float32, num_steps),
                tf.TensorArray(tf.float32, num_steps),
                tf.constant(0.0),
            ),
        )
        return losses.stack(), norms.stack(), stopping

    def recovers_from_overflow(self) -> bool:
        """Whether a lower loss scale can still mend a loss that is not finite."""
        return self.config.scale_loss and float(self._loss_scale.numpy()) > 1.0

    def _update(self, batch, stop):
        context = tf.distribute.get_replica_context()
        step = self.global_step.read_value()
        denominators, stopping = context.all_reduce(
            tf.distribute.ReduceOp.SUM,
            # int32 would be reduced elsewhere than float32, which is an error.
            (self.task.loss_denominators(batch), tf.cast(stop, tf.float32)),
        )
        replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
        scale = self._loss_scale.read_value() if self.config.scale_loss else 1.0
        rows = next(iter(batch.values())).shape[0]
        loss, gradients, after = self._accumulate(
            batch | self._rows_of_carried(replica * rows, rows),
            denominators,
            [tf.cast(step, tf.int32), self.config.seed + replica],
            scale,
        )
        loss, gradients = context.all_reduce(
            tf.distribute.ReduceOp.SUM, (loss, gradients)
        )
        self._carry(after, replica * rows)
        if self.config.scale_loss:
            gradients = [gradient / scale for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm)
        # Clipping by a norm that is not finite gives NaN everywhere, which ends the
        # run; under loss scaling such an update is skipped instead.
        gradients, _ = tf.clip_by_global_norm(
            gradients, self.config.max_grad_norm, use_norm=norm
        )
        if self.config.scale_loss:
            self._adapt_loss_scale(finite)
            self.optimizer.apply(gradients, step, enabled=finite)
        else:
            self.optimizer.apply(gradients, step)
        self.global_step.assign_add(1)
        return loss, norm, stopping

    def _accumulate(self, batch, denominators, seed, scale):
        """Adds up the gradients of the micro-batches of one batch.

        Returns:
          the loss, the gradients, and what the batch's rows carry to the next batch.
        """
        pieces = self.config.gradient_accumulation_steps
        if pieces == 1:
            return self._forward_backward(batch, denominators, seed, scale)
        rows = next(iter(batch.values())).shape[0] // pieces

        def body(piece, total, sums, carried):
            micro = {
                name: value[piece * rows : (piece + 1) * rows]
                for name, value in batch.items()
            }
            for value in micro.values():
                value.set_shape([rows, *value.shape[1:]])
            # Micro-batches of one step draw different masks.
            micro_seed = [seed[0] * pieces + piece, seed[1]]
            loss, gradients, after = self._forward_backward(
                micro, denominators, micro_seed, scale
            )
            sums = [a + b for a, b in zip(sums, gradients, strict=True)]
            places = piece * rows + tf.range(rows)[:, None]
            carried = {
                name: tf.tensor_scatter_nd_update(value, places, after[name])
                for name, value in carried.items()
            }
            return piece + 1, total + loss, sums, carried

        zeros = [tf.zeros(v.shape) for v in self.optimizer.trainable.values()]
        carried = {name: batch[name] for name in self._carried}
        _, loss, gradients, carried = tf.while_loop(
            lambda piece, *_: piece < pieces,
            body,
            (tf.constant(0), tf.zeros([]), zeros, carried),
            parallel_iterations=1,
        )
        return loss, gradients, carried

    def _forward_backward_eager(self, batch, denominators, seed, scale):
        variables = list(self.optimizer.trainable.values())
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            sums = dict(self.task.loss_sums(self.model, batch, tf.stack(seed)))
            after = {name: sums.pop(name) for name in self._carried}
            loss = self.task.total_loss(sums, denominators)
            scaled = loss * scale
        gradients = tape.gradient(
            scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        # Embedding gradients are sparse; Adam needs duplicate ids added up.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        return loss, gradients, after

    def _rows_of_carried(self, first, rows):
        """Returns this replica's rows of what the batch before left."""
        return {
            name: tf.ensure_shape(
                variable.read_value()[first : first + rows], [rows, *variable.shape[1:]]
            )
            for name, variable in self._carried.items()
        }

    def _carry(self, after, first):
        """Keeps what the rows carry, from `first` on, of every replica on each."""
        context = tf.distribute.get_replica_context()
        for name, variable in self._carried.items():
            rows = after[name].shape[0]
            mine = tf.scatter_nd(
                first + tf.range(rows)[:, None], after[name], variable.shape
            )
            whole = context.all_reduce(tf.distribute.ReduceOp.SUM, mine)
            variable.assign(whole)

    def _adapt_loss_scale(self, finite):
        """Halves the scale after an overflow, doubles it after many good steps."""
        good = tf.where(finite, self._good_steps + 1, 0)
        grow = good >= _LOSS_SCALE_GROWTH_STEPS
        factor = tf.where(finite, tf.where(grow, 2.0, 1.0), 0.5)
        self._loss_scale.assign(tf.maximum(self._loss_scale * factor, 1.0))
        self._good_steps.assign(tf.where(grow, tf.zeros_like(good), good))


def _counter(name, value, dtype):
    return tf.Variable(
        tf.constant(value, dtype),
        trainable=False,
        name=name,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
