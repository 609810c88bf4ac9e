"""Training that can be resumed, on one device, several, or machines."""

import functools
import json
import math
import os
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from actx_tf.data.epochs import without_tuner
from actx_tf.models.paired_model import PairedModel
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.utils.backend import check_tensorflow
from actx_tf.utils.checks import check_positive
from actx_tf.utils.untrusted_files import read_npz


def fit(
    model: keras.Model,
    make_dataset: Callable[..., tf.data.Dataset],
    epochs: int = 1,
    *,
    validation_data: (
        tf.data.Dataset | Callable[..., tf.data.Dataset] | None
    ) = None,
    patience: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint: str | os.PathLike | None = None,
    bad_batch: str | os.PathLike | None = None,
    verbose: int = 0,
) -> dict[str, list[float]]:
    """Trains a compiled model, from its last checkpoint on if there is one.

    One function for one device and for every strategy of `tf.distribute` that
    copies the model: Keras' own `fit` runs inside, or a loop written here
    where that fails (`MultiWorkerMirroredStrategy`). Make and compile the
    model within the strategy's scope, and call this outside. Inputs may be
    booleans.

    After each epoch the weights, the optimizer's variables, the states of
    random layers, the history and the number of the epoch are written to
    `checkpoint`: the file is the old or the whole new one, whenever the
    process is killed. The same call then goes on after that epoch, and
    ends with the weights of an uninterrupted training if `make_dataset`
    depends on its arguments alone (and operations are deterministic). What
    callbacks remember is not kept; what `patience` needs is.

    On several machines each worker makes this call, and `checkpoint` lies on a
    file system that all of them share; the chief (`is_chief`) writes it. Each
    worker reads only its own shards. Callbacks run on every worker, so those
    that write files are for the chief alone; at the end of a batch they get
    the loss, and at the end of an epoch all logs, of all workers together. If
    a worker is lost or hangs, the others fail within seconds with an
    `UnavailableError` (or another `tf.errors.OpError`): end what is left and
    start all of them again to go on.

    Args:
        model: A compiled model.
        make_dataset: Function that is called with the keywords `epoch`,
            `shard` and `num_shards` and makes the batches of that share of the
            epoch, as many for each shard: `make_pair_dataset` with its other
            arguments filled in by `functools.partial`. `epoch` can be a tensor.
            Inputs of strings are not given to the model.
        epochs: Number of epochs after which the training is over, including
            those before the checkpoint. Defaults to `1`.
        validation_data: A dataset that is evaluated after each epoch; on
            several machines, a function of the keywords `shard` and
            `num_shards` that makes it: `make_evaluation_dataset`, filled in.
            Defaults to `None`.
        patience: Number of epochs without a lower loss on `validation_data`
            after which the training ends early. However it ends, the weights
            are then those of the epoch with the lowest one. Of a `PairedModel`
            the loss is `val_classification_loss`, L_c, for those of pairs are
            not what is asked of it later; of others `val_loss`. Defaults to
            `None`: all epochs, and the weights of the last.
        callbacks: Keras callbacks. Defaults to none.
        checkpoint: Path of the checkpoint. Defaults to `None`: the training
            cannot be resumed.
        bad_batch: Path of the `.npz` that gets the batch whose loss is not
            finite; on several machines, each worker's has the number of its
            first shard added to its name. Defaults to `None`.
        verbose: As in `keras.Model.fit`. Defaults to `0`.

    Returns:
        The history: each log's values, one an epoch from the first one on.

    Raises:
        FloatingPointError: If a loss is not finite, with `patience` that of
            `validation_data` too. What was trained up to the end of the epoch
            before is in the checkpoint.
        ValueError: If the checkpoint is of another model, or an argument is
            wrong.
    """
    check_tensorflow("actx_tf.training.fit")
    if patience is not None:
        check_positive("patience", patience)
        if validation_data is None:
            raise ValueError(
                "`validation_data` must be given where `patience` is. "
                f"Received: validation_data=None, patience={patience}"
            )
    strategy = model.distribute_strategy
    on_workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if on_workers and isinstance(validation_data, tf.data.Dataset):
        raise ValueError(
            "`validation_data` must be a function of shard and num_shards, so "
            "that each worker reads its own share. "
            f"Received: validation_data={validation_data}"
        )
    num_shards = strategy.num_replicas_in_sync if on_workers else 1
    first = make_dataset(epoch=0, shard=0, num_shards=num_shards)
    steps = int(first.cardinality())
    if steps < 1:
        raise ValueError(
            "`make_dataset` must return a dataset of a known number of "
            f"batches. Received: cardinality={steps}"
        )
    _build(model, *first.map(_for_model(strategy)).element_spec)
    progress = _Progress(model, checkpoint, patience)
    done = progress.restore()
    if on_workers:
        _check_same_on_all(strategy, done)
    if done >= epochs or progress.stopped:
        model.optimizer.finalize_variable_values(model.trainable_variables)
        progress.take_best()
        return progress.history

    shards = _own_shards(strategy) if on_workers else [0]

    def own_share(make, **which):
        return _side_by_side(
            [make(shard=k, num_shards=num_shards, **which) for k in shards]
        )

    def redraw(epoch, step):
        epoch = own_share(make_dataset, epoch=epoch)
        return epoch.skip(step * len(shards)).take(len(shards))

    def prepare(dataset):
        return without_tuner(dataset.map(_for_model(strategy)).prefetch(2))

    # All epochs one after another: then it does not matter how often Keras
    # iterates over the dataset, and the next epoch is read while one ends.
    training = tf.data.Dataset.range(done, epochs).flat_map(
        # AutoGraph would warn of what the users' function calls.
        tf.autograph.experimental.do_not_convert(
            lambda epoch: own_share(make_dataset, epoch=epoch)
        )
    )
    if callable(validation_data):
        validation_data = own_share(validation_data)
    if validation_data is not None:
        validation_data = prepare(validation_data)
    if bad_batch is not None and num_shards > 1:
        bad_batch = Path(bad_batch).with_stem(
            f"{Path(bad_batch).stem}-{shards[0]}"
        )
    run = functools.partial(model.fit, shuffle=False)  # the pipeline does
    if on_workers:
        run = functools.partial(_fit_on_workers, model)
    run(
        prepare(training),
        validation_data=validation_data,
        epochs=epochs,
        initial_epoch=done,
        steps_per_epoch=steps,
        callbacks=[_StopAtBadLoss(redraw, bad_batch), *callbacks, progress],
        verbose=verbose,
    )
    progress.take_best()
    if on_workers and isinstance(model, PairedModel):
        model.rename_trained_backbone()  # as Keras' `fit` of it does
    return progress.history


def is_chief(strategy: tf.distribute.Strategy | None = None) -> bool:
    """Returns whether this process is the one that writes files.

    One of the workers of a `MultiWorkerMirroredStrategy` is; without such a
    strategy every process is.

    Args:
        strategy: The strategy. Defaults to `None`: the current one.

    Returns:
        True for the chief.
    """
    strategy = strategy or tf.distribute.get_strategy()
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or not resolver.task_type:
        return True
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_type == "worker" and resolver.task_id == 0


class _Progress(keras.callbacks.Callback):
    """Keeps the history, and writes what a training goes on from.

    With `patience` it keeps the weights of the best epoch too, and says when
    to stop. Keras' `EarlyStopping` would forget both at an interruption.
    """

    def __init__(self, model, path, patience):
        super().__init__()
        self.history = {}
        self.stopped = False
        self._strategy = model.distribute_strategy
        self._variables = [*model.variables, *model.optimizer.variables]
        self._weights = model.weights
        self._best = None  # their values
        self._patience = patience
        self._path = None if path is None else Path(path)

    def restore(self):
        """Goes back to the checkpoint; returns the epochs before it."""
        if self._path is None or not self._path.exists():
            return 0
        try:
            arrays = read_npz(self._path)
            state = json.loads(str(arrays.pop("state")))
            best = [
                arrays.pop(name)
                for name in _names_of_best(self._weights)
                if name in arrays
            ]
            values = [arrays[str(i)] for i in range(len(arrays))]
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{self._path}: not a whole checkpoint ({error}): delete it to "
                "start this training from the beginning."
            ) from error
        shapes = [value.shape for value in values]
        expected = [tuple(variable.shape) for variable in self._variables]
        if shapes != expected:
            raise ValueError(
                "`checkpoint` must hold the variables of this model and "
                f"optimizer, of the shapes {expected}. "
                f"Received: {self._path}, which holds {shapes}"
            )
        if self._patience is not None and not best:
            raise ValueError(
                "`patience` must be None for a training that was begun without "
                "it: the weights of its best epoch were not kept. Received: "
                f"patience={self._patience}, checkpoint={self._path}"
            )
        self._assign(self._variables, values)
        self._best = best
        self.history = state["history"]
        self.stopped = state["stopped"]
        return state["epochs"]

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self._patience is not None:
            self._compare(epoch)
        if self._path is None:
            return
        values = {str(i): x for i, x in enumerate(_read(self._variables))}
        if self._patience is not None:
            names = _names_of_best(self._weights)
            values |= dict(zip(names, self._best, strict=True))
        state = {
            "epochs": epoch + 1,
            "history": self.history,
            "stopped": self.model.stop_training,
        }
        if is_chief(self._strategy):
            _write_arrays(self._path, state=json.dumps(state), **values)

    def take_best(self):
        """Gives the model the weights of its best epoch, if they are kept."""
        if self._patience is not None:
            self._assign(self._weights, self._best)

    def _compare(self, epoch):
        """Looks whether this epoch is the best, or the best is long ago."""
        watched = "val_classification_loss"
        if watched not in self.history:
            watched = "val_loss"
        losses = self.history[watched]
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(
                f"{watched}={losses[-1]} in epoch {epoch + 1}: it cannot be "
                "compared with that of other epochs"
            )
        best = losses.index(min(losses))
        if best == epoch:
            self._best = _read(self._weights)
        elif epoch - best >= self._patience:
            self.model.stop_training = True

    def _assign(self, variables, values):
        with self._strategy.scope():
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)


def _read(variables):
    """By every worker, as some variables are summed over all when read."""
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _names_of_best(weights):
    return [f"best{i}" for i in range(len(weights))]


class _StopAtBadLoss(keras.callbacks.Callback):
    """Ends a training whose loss is not finite, and keeps the batch."""

    def __init__(self, redraw, path):
        super().__init__()
        self._redraw = redraw
        self._path = path
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if math.isfinite(loss):
            return
        message = f"loss={loss} in epoch {self._epoch + 1}, step {batch + 1}"
        if self._path is not None:
            arrays = _merge(self._redraw(self._epoch, batch))
            _write_arrays(self._path, **arrays)
            message += f"; its batch is saved in {self._path}"
            if "clip" in arrays:
                message += f"; its clips are {arrays['clip'].tolist()}"
        raise FloatingPointError(message)


def _merge(batches):
    """The batches as one dictionary of arrays."""
    arrays = {}
    for inputs, *targets in batches.as_numpy_iterator():
        if not isinstance(inputs, dict):
            inputs = {"inputs": inputs}
        keys = ("label", "sample_weight")
        batch = {**inputs, **dict(zip(keys, targets, strict=False))}
        for key, array in batch.items():
            if array.dtype == object:
                array = np.char.decode(array.astype(bytes), "utf-8")
            arrays.setdefault(key, []).append(array)
    return {key: np.concatenate(parts) for key, parts in arrays.items()}


def _write_arrays(path, **arrays):
    """Writes an `.npz` whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as draft, open(draft, "wb") as file:
        np.savez(file, **arrays)


def _build(model, inputs, *targets):
    """Makes the variables of the model, of its optimizer and its metrics."""
    inputs = tf.nest.map_structure(
        lambda spec: keras.KerasTensor(spec.shape, spec.dtype.name), inputs
    )
    with model.distribute_strategy.scope():
        if not model.built:
            model(inputs)
        model.optimizer.build(model.trainable_variables)
        is_traced = model.train_function is not None
        if targets and not is_traced and not tf.distribute.has_strategy():
            _build_metrics(model, inputs, *targets)


def _build_metrics(model, inputs, *targets):
    """Where Keras makes them in the first step, it traces that step twice."""
    clips = inputs
    if isinstance(model, PairedModel) and isinstance(inputs, dict):
        clips = inputs["features"]  # which take less time than pairs

    def zeros(spec):
        sizes = [1 if size is None else size for size in spec.shape]
        return keras.ops.zeros(sizes, spec.dtype)

    label, *weight = targets
    values = (inputs, label, model(clips), *weight)
    model.compute_metrics(*tf.nest.map_structure(zeros, values))
    model.reset_metrics()


def _for_model(strategy):
    """Returns the function that makes of a batch what `model.fit` takes."""
    replicas = strategy.num_replicas_in_sync

    def to_batch(inputs, *targets):
        if isinstance(inputs, dict):
            inputs = {
                key: value
                for key, value in inputs.items()
                if value.dtype != tf.string
            }
        if replicas == 1:
            return inputs, *targets
        # Keras takes the mean of the first batch over the replicas to build
        # the model, and booleans have none.
        return tf.nest.map_structure(
            lambda x: tf.cast(x, tf.int32) if x.dtype == tf.bool else x,
            (inputs, *targets),
        )

    return to_batch


def _own_shards(strategy):
    """The numbers of this worker's replicas among those of all workers."""

    def number():
        return tf.distribute.get_replica_context().replica_id_in_sync_group

    numbers = tf.function(lambda: strategy.run(number))()
    numbers = strategy.experimental_local_results(numbers)
    return [int(number) for number in numbers]


def _check_same_on_all(strategy, epochs):
    """Raises the same error on all workers that begin at different epochs."""

    @tf.function
    def gather():
        of_each = strategy.run(lambda: tf.constant([epochs]))
        return strategy.gather(of_each, axis=0)

    of_all = gather().numpy().tolist()
    if len(set(of_all)) > 1:
        raise ValueError(
            "`checkpoint` must lie on a file system that all workers share. "
            f"Received: checkpoints of the workers' replicas after {of_all} "
            "epochs"
        )


def _side_by_side(datasets):
    """One dataset of the first's batch, the second's, and so on."""
    if len(datasets) == 1:
        return datasets[0]

    def in_turn(*batches):
        batches = map(tf.data.Dataset.from_tensors, batches)
        return functools.reduce(tf.data.Dataset.concatenate, batches)

    return tf.data.Dataset.zip(*datasets).flat_map(in_turn)


def _fit_on_workers(
    model,
    training,
    *,
    validation_data,
    epochs,
    initial_epoch,
    steps_per_epoch,
    callbacks,
    verbose,
):
    """Keras' `fit` on several workers, whose own cannot do it (Keras 3)."""
    strategy = model.distribute_strategy

    def on_all(step):
        @tf.function(reduce_retracing=True)
        def run(iterator):
            logs = strategy.run(step, args=(next(iterator),))
            return strategy.reduce("MEAN", logs["loss"], axis=None)

        return run

    def distribute(share):
        return strategy.distribute_datasets_from_function(lambda _: share)

    callbacks = keras.callbacks.CallbackList(
        callbacks,
        add_progbar=verbose != 0 and is_chief(strategy),
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=steps_per_epoch,
    )
    train, test = on_all(model.train_step), on_all(model.test_step)
    iterator = iter(distribute(training))
    model.stop_training = False
    callbacks.on_train_begin()
    logs = {}
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        for step in range(steps_per_epoch):
            callbacks.on_train_batch_begin(step)
            loss = float(train(iterator))
            callbacks.on_train_batch_end(step, {"loss": loss})
        logs = _results(model)
        if validation_data is not None:
            model.reset_metrics()
            batches = iter(distribute(validation_data))
            for _ in range(int(validation_data.cardinality())):
                test(batches)
            results = _results(model)
            logs |= {f"val_{name}": value for name, value in results.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_variables)
    callbacks.on_train_end(logs)


def _results(model):
    return {
        name: float(value) for name, value in model.get_metrics_result().items()
    }
