"""What Keras' backend runs on, for which Keras has no word on PyTorch."""

import keras


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
