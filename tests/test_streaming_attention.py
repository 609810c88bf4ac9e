import keras
import numpy as np
import pytest
from keras import ops

from actx_tf import losses
from actx_tf.models import ActX
from actx_tf.ops import streaming_attention
from actx_tf.ops.streaming_attention import attend
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import gradients

TENSORS = clips(2, 7, 4), clips(2, 9, 4, seed=1), clips(2, 9, 3, seed=2)
UPSTREAM = clips(2, 7, 3, seed=3)
MASK = np.arange(9) < np.array([[9], [5]])


def whole(queries, keys, values, mask=None):
    """The definition, in one piece."""
    scores = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))
    if mask is not None:
        scores = ops.where(mask[:, None], scores, -np.inf)
    return ops.matmul(ops.softmax(scores, axis=-1), values)


# One block of 7 queries; 2 of 4; 3 of 3, with 2 too many; 7 of 1.
@pytest.fixture(params=[2**24, 60, 45, 17])
def block_sizes(request, monkeypatch):
    monkeypatch.setattr(
        streaming_attention,
        "max_queries",
        lambda scores: 1 + request.param // scores,
    )


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_block_has_so_many_scores_at_most(on_gpu, monkeypatch):
    """64 MiB in float32, 1 GiB on a GPU, and a query; or 512 queries."""
    monkeypatch.setattr(streaming_attention, "is_on_gpu", lambda: on_gpu)
    most = 2**30 // 4 if on_gpu else 2**26 // 4
    for scores in (1000, 2**14, most // 600 + 1, most // 512):
        size = 1 + most // scores
        assert streaming_attention.max_queries(scores) == size
        known = streaming_attention.max_queries(ops.convert_to_tensor(scores))
        assert int(known) == size > 512
    for scores in (most // 510, most):
        assert streaming_attention.max_queries(scores) == 512
        known = streaming_attention.max_queries(ops.convert_to_tensor(scores))
        assert int(known) == 512


def test_blocks_are_of_one_size(monkeypatch):
    """2 x 9 scores of one query: 5 queries at most make blocks of 4 and 3."""
    sizes = []
    weights = streaming_attention._weights

    def seen(queries, keys, mask):
        sizes.append(queries.shape[1])
        return weights(queries, keys, mask)

    monkeypatch.setattr(streaming_attention, "_weights", seen)
    for most, size in ((2 * 9 * 4, 4), (2 * 9 * 7, 7), (2 * 9 * 2, 3)):
        sizes.clear()
        monkeypatch.setattr(
            streaming_attention, "max_queries", lambda n, m=most: 1 + m // n
        )
        attend(*TENSORS)
        assert set(sizes) == {size}


@pytest.mark.parametrize("mask", [None, MASK])
def test_blocks_give_what_the_whole_gives(block_sizes, mask):
    assert_close(attend(*TENSORS, mask), whole(*TENSORS, mask))
    for actual, expected in zip(
        gradients(lambda *tensors: attend(*tensors, mask), TENSORS, UPSTREAM),
        gradients(lambda *tensors: whole(*tensors, mask), TENSORS, UPSTREAM),
        strict=True,
    ):
        assert_close(actual, expected)


def test_a_mask_holds_where_all_real_keys_fit_badly():
    queries, keys, values = TENSORS
    tensors = -1e5 * np.abs(queries), np.abs(keys), values
    assert_close(attend(*tensors, MASK), whole(*tensors, MASK))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="of TensorFlow"
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_sizes_that_are_unknown(block_sizes, jit_compile):
    import tensorflow as tf

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, x.shape[-1])) for x in TENSORS
        ],
        jit_compile=jit_compile,
    )
    def run(*tensors):
        return attend(*tensors, MASK), gradients(attend, tensors, UPSTREAM)

    actual, actual_gradients = run(*TENSORS)
    assert_close(actual, whole(*TENSORS, MASK))
    for one, other in zip(
        actual_gradients, gradients(whole, TENSORS, UPSTREAM), strict=True
    ):
        assert_close(one, other)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="of TensorFlow"
)
@pytest.mark.parametrize("whole_step", [False, True])
def test_no_tensor_of_all_scores(whole_step):
    # 80 steps of the paper's feature maps: 7040 locations.
    import tensorflow as tf

    model = ActX(8)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.build((None, None, None, None, 16))
    model.optimizer.build(model.trainable_variables)

    @tf.function(input_signature=[tf.TensorSpec((2, 80, 8, 11, 16))] * 2)
    def run(features, conjugate):
        if whole_step:
            pair = {"features": features, "conjugate": conjugate}
            return model.train_step((pair, tf.constant([0, 1])))
        with tf.GradientTape() as tape:
            tape.watch(features)
            similarity = losses.conjugate_similarity(features, conjugate)
        return tape.gradient(similarity, features)

    sizes = [
        tensor.shape.num_elements()
        for graph in all_graphs(run.get_concrete_function().graph)
        for operation in graph.get_operations()
        for tensor in operation.outputs
        if tensor.shape.is_fully_defined()
    ]
    assert 7040 * 512 < max(sizes) <= 2**24 + 7040


def all_graphs(graph):
    """A graph and those of the functions that it calls, such as loops."""
    yield graph
    for name in graph._functions:
        function = graph._get_function(name)
        if hasattr(function, "graph"):
            yield from all_graphs(function.graph)
