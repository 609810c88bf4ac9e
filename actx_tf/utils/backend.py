"""What needs Keras' TensorFlow backend says so."""

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
