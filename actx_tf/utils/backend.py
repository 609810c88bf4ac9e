"""Which backend Keras runs on, and on what."""

import keras


def check_tensorflow(name: str) -> None:
    """Raises a `RuntimeError` unless Keras' backend is TensorFlow.

    Args:
        name: What needs it, such as `"actx_tf.training.fit"`.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"{name} needs Keras' TensorFlow backend: set KERAS_BACKEND to "
            f"tensorflow. Received: the backend {backend}"
        )


def is_on_gpu() -> bool:
    """Returns whether Keras' backend has a GPU, which it then runs on."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() == "gpu"
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    return bool(keras.distribution.list_devices("gpu"))
