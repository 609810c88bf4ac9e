"""The extraction of features on many processes or machines, with Ray."""

import contextlib
import os
import pathlib
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Sequence
from typing import Any

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.clip_index import Clip
from actx_tf.data.extraction import FeatureExtractor
from actx_tf.data.extraction import changed_clips
from actx_tf.data.extraction import progress_bar
from actx_tf.data.extraction import store_clips
from actx_tf.data.feature_store_writer import FeatureStoreWriter
from actx_tf.utils.checks import check_positive
from actx_tf.utils.optional import import_optional


def extract_features_on_ray(
    clips: Sequence[Clip],
    make_backbone: Callable[[], Backbone],
    store_path: str | os.PathLike,
    *,
    num_workers: int = 2,
    cpus_per_worker: int = 1,
    gpus_per_worker: float = 0.0,
    memory: float = 4.0,
    window: int | None = None,
    dtype: str = "float16",
    compute_dtype: str = "float32",
    progress: bool = True,
) -> list[tuple[Clip, str]]:
    """Stores the feature map of each clip, as `extract_features` does.

    The clips are shared out among the workers. Each makes the backbone and
    writes files of its own, in a folder of the store at `store_path`, which
    holds what a single process would have made. As there, an interrupted run
    can be resumed, with any number of workers.

    Ray is started on this machine, unless it has been initialized already or
    `RAY_ADDRESS` names a cluster. There, `store_path` and the videos must lie
    on a file system that all machines share.

    Args:
        clips: The clips.
        make_backbone: Makes the backbone; it is sent to the workers, and called
            once here for the backbone's description.
        store_path: Path of the store, a folder.
        num_workers: Number of workers. Defaults to `2`.
        cpus_per_worker: Processor cores that each may use. Defaults to
            `1`.
        gpus_per_worker: GPUs that each may use, also a part of one. Defaults
            to `0.0`.
        memory: As in `extract_features`, for each worker. Defaults to `4.0`.
        window: As in `extract_features`. Defaults to `None`.
        dtype: As in `extract_features`. Defaults to `"float16"`.
        compute_dtype: As in `extract_features`. Defaults to `"float32"`.
        progress: As in `extract_features`. Defaults to `True`.

    Returns:
        A list of `(clip, message)`, one for each clip that failed.

    Raises:
        ImportError: If Ray is missing.
        ValueError: If an argument is wrong, or the store holds other features.
        RuntimeError: If a worker fails for another reason than a clip; what
            was finished is kept.
    """
    check_positive("num_workers", num_workers)
    ray = import_optional("ray", "Extraction on many machines")
    store_path = pathlib.Path(store_path).absolute()
    settings: dict[str, Any] = {
        "memory": memory,
        "window": window,
        "compute_dtype": compute_dtype,
    }
    # What does not fit fails here, and not in the workers.
    description: Any = FeatureExtractor(make_backbone(), **settings).description

    def run(share, number):
        _limit_threads(cpus_per_worker)
        extractor = FeatureExtractor(make_backbone(), **settings)
        with FeatureStoreWriter(
            store_path / f"worker-{number}",
            extractor.description,
            dtype,
            compute_dtype,
        ) as writer:
            yield from store_clips(share, extractor, writer)

    with FeatureStoreWriter(
        store_path, description, dtype, compute_dtype
    ) as writer:
        messages = {
            clip.clip: message
            for clip, message in changed_clips(clips, store_path)
        }
        missing = [clip for clip in clips if clip.clip not in writer]
        shares = [missing[i::num_workers] for i in range(num_workers)]
        task = ray.remote(
            num_cpus=cpus_per_worker,
            num_gpus=gpus_per_worker,
            num_returns="streaming",
        )(run)
        bar = progress_bar(len(clips), len(clips) - len(missing), progress)
        with bar, contextlib.closing(_run(ray, task, shares)) as results:
            for clip, message in results:
                if message:
                    messages[clip.clip] = message
                bar.update()
    return [
        (clip, messages[clip.clip]) for clip in clips if clip.clip in messages
    ]


def _run(ray, task, shares) -> Generator[Any, None, None]:
    """Yields what a task yields for each share, as it comes."""
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False)
    running = []
    try:
        running = [task.remote(share, i) for i, share in enumerate(shares)]
        while running:
            for each in ray.wait(running)[0]:
                try:
                    yield ray.get(next(each))
                except StopIteration:
                    running.remove(each)
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"a worker failed: {error}") from error
    finally:
        _end(ray, running)
        if ours:
            ray.shutdown()


def _end(ray, running):
    """Ends workers; else they go on for a while, and hold their folders."""
    if not running:
        return
    # Ray can abort this process where one that has ended is canceled.
    ends = {each.completed(): each for each in running}
    _, left = ray.wait(list(ends), num_returns=len(ends), timeout=0)
    for end in left:
        ray.cancel(ends[end], force=True)
    if left:
        ray.wait(left, num_returns=len(left))


def _limit_threads(count):
    """Leaves the other cores to the other workers."""
    import tensorflow as tf

    # A process that has run a share before has its threads already.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(count)
