"""One update: forward, backward, all-reduce, clip, apply; identical on every replica.

Losses are sums over real elements divided by the global count, so several replicas,
several workers and accumulated micro-batches all compute what one device would.
"""

import dataclasses
import functools
import re

import keras
import tensorflow as tf

import modeling
from errors import UserError
from modeling.layers import base, graphs
from optimization.optimizers import Optimizer, backing_variable
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
        rows: int = 0,
    ):
        """Creates the counters.

        Args:
          task: gives the loss.
          model: what `task.build_model` made.
          optimizer: over the model's variables.
          config: see StepConfig.
          rows: of a global batch; 0 where nothing is carried from batch to batch.

        Raises:
          UserError: a batch is to be computed in pieces on several replicas, but one
            replica's pass asks the others.
          ValueError: the optimizer changes rows of a sparse table that have no
            gradient.
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
        self._parts = [
            _Part(name, part, model, rows)
            for name, part in (task.parts or {"": task}).items()
        ]
        for part in self._parts:
            self.state |= part.state
        pattern = task.sparse_tables
        self._sparse = [
            pattern is not None and bool(re.search(pattern, name))
            for name in optimizer.trainable
        ]
        if any(self._sparse) and not optimizer.leaves_other_rows:
            raise ValueError(
                f"{type(optimizer).__name__} changes rows that have no gradient, too: "
                f"it cannot train the sparse tables {pattern!r}"
            )
        if config.scale_loss:
            self._loss_scale = _counter("loss_scale", _INITIAL_LOSS_SCALE, tf.float32)
            self._good_steps = _counter("good_steps", 0, tf.int64)
            self.state["trainer/loss_scale"] = self._loss_scale
            self.state["trainer/good_steps"] = self._good_steps
        for part in self._parts:
            run = functools.partial(self._forward_backward, part)
            # Replicas cannot ask one another from inside a graph of their own.
            if not self._asks_replicas(part):
                run = graphs.step(run, jit_compile=config.jit_compile)
            part.forward_backward = run
        self.run = graphs.step(self._run)

    def _asks_replicas(self, part):
        """Tells whether a replica's pass needs the others', and there may be such."""
        if not part.task.asks_replicas or not tf.distribute.has_strategy():
            return False
        pieces = self.config.gradient_accumulation_steps
        if pieces > 1:
            raise UserError(
                f"--gradient_accumulation_steps={pieces} over several devices: the "
                "model's batch normalization is over all of a batch; give 1"
            )
        return True

    def _run(self, iterator, num_steps, stop):
        """Makes several updates in one host call; `run` is its compiled form.

        Args:
          iterator: yields per-replica batches. Of a task of several: an iterator that
            yields the places of those whose turn it is, and one of batches for each.
          num_steps: int32 [], updates to make.
          stop: int32 [], 1 if this worker was asked to stop.

        Returns:
          losses float32 [num_steps], gradient norms float32 [num_steps] (before
          clipping), and float32 [], how many replicas were asked to stop.
        """

        def body(i, losses, norms, _):
            loss, norm, stopping = self._next_update(iterator, stop)
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

    def _next_update(self, iterator, stop):
        """Makes one update, of the task whose turn it is."""
        if not self.task.parts:
            return self._update_replicas(self._parts[0], iterator, stop)
        turns, iterators = iterator
        updates = [
            functools.partial(self._update_replicas, part, batches, stop)
            for part, batches in zip(self._parts, iterators, strict=True)
        ]
        return tf.switch_case(turns.get_next(), updates)

    def _update_replicas(self, part, iterator, stop):
        """Returns the loss, the gradient norm and who stops, of one update."""
        update = functools.partial(self._update, part)
        results = self.strategy.run(update, args=(iterator.get_next(), stop))
        # Every replica returns the all-reduced value: take the first.
        return [
            self.strategy.experimental_local_results(result)[0] for result in results
        ]

    def recovers_from_overflow(self) -> bool:
        """Whether a lower loss scale can still mend a loss that is not finite."""
        return self.config.scale_loss and float(self._loss_scale.numpy()) > 1.0

    def _update(self, part, batch, stop):
        context = tf.distribute.get_replica_context()
        step = self.global_step.read_value()
        denominators, stopping = context.all_reduce(
            tf.distribute.ReduceOp.SUM,
            # int32 would be reduced elsewhere than float32, which is an error.
            (part.task.loss_denominators(batch), tf.cast(stop, tf.float32)),
        )
        replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
        scale = self._loss_scale.read_value() if self.config.scale_loss else 1.0
        rows, *_ = base.shape_list(next(iter(batch.values())))
        loss, gradients, after = self._accumulate(
            part,
            batch | part.rows(replica * rows, rows),
            denominators,
            [tf.cast(step, tf.int32), self.config.seed + replica],
            scale,
        )
        loss, gradients = context.all_reduce(
            tf.distribute.ReduceOp.SUM, (loss, gradients)
        )
        part.carry(after, replica * rows)
        gradients = self.optimizer.thawed(gradients, step)
        gradients = [
            _unique_rows(gradient) if sparse else gradient
            for gradient, sparse in zip(gradients, self._sparse, strict=True)
        ]
        norm = tf.linalg.global_norm(gradients) / scale
        finite = tf.math.is_finite(norm)
        factor = self._clipping(norm) / scale
        if self.config.scale_loss:
            self._adapt_loss_scale(finite)
            self.optimizer.apply(gradients, step, finite, factor)
        else:
            self.optimizer.apply(gradients, step, factor=factor)
        self.global_step.assign_add(1)
        return loss, norm, stopping

    def _clipping(self, norm):
        """Returns what scales gradients of that norm down to the greatest allowed.

        Of a norm that is not finite it is NaN, which ends the run; under loss scaling
        such an update is skipped instead.
        """
        limit = self.config.max_grad_norm
        factor = limit * tf.minimum(1.0 / norm, 1.0 / limit)
        return tf.where(tf.math.is_finite(norm), factor, float("nan"))

    def _accumulate(self, part, batch, denominators, seed, scale):
        """Adds up the gradients of the micro-batches of one batch.

        Returns:
          the loss, the gradients, and what the batch's rows carry to the next batch.
        """
        pieces = self.config.gradient_accumulation_steps
        if pieces == 1:
            return part.forward_backward(batch, denominators, seed, scale)
        rows, *_ = base.shape_list(next(iter(batch.values())))
        rows //= pieces

        def body(piece, total, sums, carried):
            micro = {
                name: value[piece * rows : (piece + 1) * rows]
                for name, value in batch.items()
            }
            if isinstance(rows, int):
                for value in micro.values():
                    value.set_shape([rows, *value.shape[1:]])
            # Micro-batches of one step draw different masks.
            micro_seed = [seed[0] * pieces + piece, seed[1]]
            loss, gradients, after = part.forward_backward(
                micro, denominators, micro_seed, scale
            )
            sums = [_added(a, piece, b) for a, b in zip(sums, gradients, strict=True)]
            places = piece * rows + tf.range(rows)[:, None]
            carried = {
                name: tf.tensor_scatter_nd_update(value, places, after[name])
                for name, value in carried.items()
            }
            return piece + 1, total + loss, sums, carried

        zeros = [
            _no_rows(variable, pieces) if sparse else tf.zeros(variable.shape)
            for variable, sparse in zip(
                self.optimizer.trainable.values(), self._sparse, strict=True
            )
        ]
        carried = {name: batch[name] for name in part.carried}
        _, loss, gradients, carried = tf.while_loop(
            lambda piece, *_: piece < pieces,
            body,
            (tf.constant(0), tf.zeros([]), zeros, carried),
            parallel_iterations=1,
        )
        variables = self.optimizer.trainable.values()
        gradients = [
            _all_rows(gradient, variable) if sparse else gradient
            for gradient, variable, sparse in zip(
                gradients, variables, self._sparse, strict=True
            )
        ]
        return loss, gradients, carried

    def _forward_backward(self, part, batch, denominators, seed, scale):
        pieces = self.config.gradient_accumulation_steps  # which seeds count
        variables = list(self.optimizer.trainable.values())
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            sums = dict(part.task.loss_sums(self.model, batch, tf.stack(seed)))
            after = {name: sums.pop(name) for name in part.carried}
            loss = part.task.total_loss(sums, denominators)
            loss *= part.task.loss_factor(seed[0] // pieces)
            scaled = loss * scale
        gradients = tape.gradient(scaled, variables)
        gradients = [
            _sparse_gradient(gradient, variable)
            if sparse
            else _dense_gradient(gradient, variable)
            for gradient, variable, sparse in zip(
                gradients, variables, self._sparse, strict=True
            )
        ]
        return loss, gradients, after

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


class _Part:
    """A task that batches are of, and what its rows carry from batch to batch.

    Attributes:
      task: gives the loss.
      carried: name -> variable, as Task.carried_states names them.
      state: the same by the names of a checkpoint.
      forward_backward: the compiled forward and backward pass of a batch.
    """

    def __init__(self, name, task, model, rows):
        self.task = task
        states = task.carried_states(model, rows) if rows else {}
        self.carried = {
            state: _counter(state, value, value.dtype)
            for state, value in states.items()
        }
        prefix = f"trainer/{name}/" if name else "trainer/"
        self.state = {prefix + state: v for state, v in self.carried.items()}
        self.forward_backward = None

    def rows(self, first, rows):
        """Returns a replica's rows of what the batch before left."""
        return {
            name: tf.ensure_shape(
                variable.read_value()[first : first + rows], [rows, *variable.shape[1:]]
            )
            for name, variable in self.carried.items()
        }

    def carry(self, after, first):
        """Keeps what the rows carry, from `first` on, of every replica on each."""
        context = tf.distribute.get_replica_context()
        for name, variable in self.carried.items():
            rows = after[name].shape[0]
            mine = tf.scatter_nd(
                first + tf.range(rows)[:, None], after[name], variable.shape
            )
            whole = context.all_reduce(tf.distribute.ReduceOp.SUM, mine)
            variable.assign(whole)


def _dense_gradient(gradient, variable):
    """Adds up the rows of an embedding's gradient: Adam needs that of each id."""
    if gradient is None:
        return tf.zeros(variable.shape)
    return tf.convert_to_tensor(gradient)


def _sparse_gradient(gradient, variable):
    """Returns the rows that were read, some of them more than once."""
    if gradient is None:
        gradient = tf.IndexedSlices(
            tf.zeros([0, *variable.shape[1:]]), tf.zeros([0], tf.int64)
        )
    if not isinstance(gradient, tf.IndexedSlices):
        raise ValueError(
            f"{variable.name} is declared a sparse table, but is not only gathered "
            "from: its gradient has every row"
        )
    return tf.IndexedSlices(
        gradient.values, tf.cast(gradient.indices, tf.int64), tf.shape(variable)
    )


def _no_rows(variable, pieces):
    """Makes room for the rows of so many micro-batches: their ids and gradients."""
    return tuple(
        tf.TensorArray(dtype, pieces, infer_shape=False, element_shape=[None, *width])
        for dtype, width in ((tf.int64, []), (tf.float32, variable.shape[1:]))
    )


def _added(total, piece, gradient):
    if not isinstance(gradient, tf.IndexedSlices):
        return total + gradient
    ids, values = total
    return ids.write(piece, gradient.indices), values.write(piece, gradient.values)


def _all_rows(total, variable):
    ids, values = total
    return tf.IndexedSlices(values.concat(), ids.concat(), tf.shape(variable))


def _unique_rows(gradient):
    """Adds up the gradients of each row that was read."""
    ids, places = tf.unique(gradient.indices)
    sums = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(ids))
    return tf.IndexedSlices(sums, ids, gradient.dense_shape)
