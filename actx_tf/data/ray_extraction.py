"""The extraction of features on many processes or machines, with Ray."""

import contextlib
import os
import pathlib
import threading
from collections.abc import Callable
from collections.abc import Sequence

import keras

from actx_tf.data.clip_index import Clip
from actx_tf.data.extraction import extract_features
from actx_tf.data.extraction import features_name
from actx_tf.data.extraction import progress_bar
from actx_tf.data.feature_store import FeatureStoreWriter


def extract_features_on_ray(
    clips: Sequence[Clip],
    make_backbone: Callable[[], keras.Model],
    store_path: str | os.PathLike,
    *,
    num_workers: int = 2,
    cpus_per_worker: int = 1,
    gpus_per_worker: float = 0.0,
    dtype: str = "float16",
    stream: str = "rgb",
    flow_method: str = "dis",
    progress: bool = True,
    **settings,
) -> list[tuple[Clip, str]]:
    """Stores the feature map of each clip, as `extract_features` does.

    The clips are shared out among the workers. Each makes the backbone and
    writes a store of its own, in the folder `<store_path>.parts`; when all
    have ended, these are merged into the one at `store_path`, which is then
    what a single process would have made. As there, an interrupted run can be
    taken up again, with any number of workers.

    Ray is started on this machine, unless it has been initialized already or
    `RAY_ADDRESS` names a cluster. There, `store_path` and the videos must lie
    on a file system that all machines share.

    Args:
        clips: The clips.
        make_backbone: Makes the network; it is sent to the workers, and called
            once here for the network's name.
        store_path: Path of the store.
        num_workers: Number of workers. Defaults to 2.
        cpus_per_worker: Processor cores that each may use. Defaults to 1.
        gpus_per_worker: GPUs that each may use, also a part of one. Defaults
            to 0.
        dtype: As of `extract_features`.
        stream: As of `extract_features`.
        flow_method: As of `extract_features`.
        progress: As of `extract_features`.
        **settings: The other arguments of `extract_features`.

    Returns:
        A list of `(clip, message)`, one for each clip that failed.

    Raises:
        ImportError: If Ray is missing.
        ValueError: If an argument is wrong.
        RuntimeError: If a worker fails for another reason than a clip; what
            was finished is kept.
    """
    if not isinstance(num_workers, int) or num_workers < 1:
        raise ValueError(
            "`num_workers` must be a positive integer. "
            f"Received: num_workers={num_workers}"
        )
    ray = _import_ray()
    store_path = pathlib.Path(store_path).absolute()
    settings |= {"dtype": dtype, "stream": stream, "flow_method": flow_method}
    name = features_name(make_backbone(), stream, flow_method)
    with FeatureStoreWriter(store_path, name, dtype) as writer:
        missing = [clip for clip in clips if clip.clip not in writer]
        shares = [missing[i::num_workers] for i in range(num_workers)]
        parts = writer.parts

        def run(share, number):
            _limit_threads(cpus_per_worker)
            return extract_features(
                share,
                make_backbone(),
                parts / f"worker-{number}.h5",
                progress=False,
                **settings,
            )

        bar = progress_bar(len(clips), len(clips) - len(missing), progress)
        with bar, _watched(bar, parts, len(missing)):
            resources = {
                "num_cpus": cpus_per_worker,
                "num_gpus": gpus_per_worker,
            }
            failed = _run(ray, ray.remote(**resources)(run), shares)
    messages = {
        clip.clip: message for of_one in failed for clip, message in of_one
    }
    return [
        (clip, messages[clip.clip]) for clip in clips if clip.clip in messages
    ]


def _run(ray, task, shares):
    """Runs a task for each share; returns what each returned."""
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False)
    try:
        running = [task.remote(share, i) for i, share in enumerate(shares)]
        try:
            return ray.get(running)
        except BaseException:
            _end(ray, running)
            raise
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"a worker failed: {error}") from error
    finally:
        if ours:
            ray.shutdown()


def _end(ray, running):
    """Ends workers; else they go on for a while, and hold their stores."""
    # Ray can abort this process where one that has ended is canceled.
    _, left = ray.wait(running, num_returns=len(running), timeout=0)
    for each in left:
        ray.cancel(each, force=True)
    if left:
        ray.wait(left, num_returns=len(left))


@contextlib.contextmanager
def _watched(bar, parts, total):
    """Advances the bar by the clips that the workers have finished."""
    ended = threading.Event()
    shown = 0

    def show(finished):
        nonlocal shown
        bar.update(max(0, finished - shown))
        shown = max(shown, finished)

    def watch():
        while not ended.wait(1.0):
            show(sum(1 for _ in parts.glob("worker-*.h5.parts/*.h5")))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    show(total)


def _limit_threads(count):
    """Leaves the other cores to the other workers."""
    import tensorflow as tf

    # A process that has run a share before has its threads already.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(count)


def _import_ray():
    # Imported late: the rest of the package works without it.
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "Extraction on many machines takes Ray: pip install actx_tf[ray]"
        ) from error
    return ray
