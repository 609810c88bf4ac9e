"""A runtime of MLServer for SavedModels, of TensorFlow alone.

The parameter `signature` of a request names the signature.
"""

import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.codecs import StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse


class SavedModelRuntime(MLModel):
    async def load(self):
        self.loaded = tf.saved_model.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        name = getattr(payload.parameters, "signature", "serving_default")
        inputs = {part.name: to_tensor(part) for part in payload.inputs}
        try:
            outputs = self.loaded.signatures[name](**inputs)
        except (tf.errors.OpError, KeyError, TypeError) as error:
            raise InferenceError(str(error)) from error
        return InferenceResponse(
            model_name=self.name,
            outputs=[to_output(key, x.numpy()) for key, x in outputs.items()],
        )


def to_tensor(part):
    if part.datatype == "BYTES":
        return tf.reshape(tf.constant(list(part.data), tf.string), part.shape)
    return tf.constant(NumpyCodec.decode_input(part))


def to_output(name, array):
    if array.dtype == object:
        return StringCodec.encode_output(name, [x.decode() for x in array])
    output = NumpyCodec.encode_output(name, array)
    output.shape = list(array.shape)  # the codec's vectors have a column
    return output
