"""A SavedModel served by TensorFlow's C API: no Python of TensorFlow, no Keras.

    python tensorflow_c.py <libtensorflow_cc> <SavedModel> <job>

The loader is the one that TF Serving uses. `<job>` is a pickle: a list of
(inputs, outputs), the arrays by the names of the graph's tensors and the names
of those to return. Writes the answers, or messages of errors, to `<job>.out`,
and the bytes that the process holds after each to `<job>.memory`.
"""

import ctypes
import os
import pickle
import sys

import numpy as np

DTYPES = {1: "float32", 3: "int32", 4: "uint8", 9: "int64"}
CODES = {np.dtype(name): code for code, name in DTYPES.items()}
STRING = 7
STRING_SIZE = 24  # of a TF_TString


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class Session:
    """A loaded SavedModel."""

    def __init__(self, library, path):
        self.tf = ctypes.CDLL(library)
        for name in (
            "TF_NewStatus",
            "TF_NewGraph",
            "TF_NewSessionOptions",
            "TF_LoadSessionFromSavedModel",
            "TF_GraphOperationByName",
            "TF_AllocateTensor",
            "TF_TensorData",
            "TF_StringGetDataPointer",
        ):
            getattr(self.tf, name).restype = ctypes.c_void_p
        for name in ("TF_Dim", "TF_TensorElementCount"):
            getattr(self.tf, name).restype = ctypes.c_int64
        for name in ("TF_TensorByteSize", "TF_StringGetSize"):
            getattr(self.tf, name).restype = ctypes.c_size_t
        self.tf.TF_Message.restype = ctypes.c_char_p
        status = ctypes.c_void_p(self.tf.TF_NewStatus())
        self.graph = ctypes.c_void_p(self.tf.TF_NewGraph())
        tags = (ctypes.c_char_p * 1)(b"serve")
        self.session = ctypes.c_void_p(
            self.tf.TF_LoadSessionFromSavedModel(
                ctypes.c_void_p(self.tf.TF_NewSessionOptions()),
                None,
                str(path).encode(),
                tags,
                1,
                self.graph,
                None,
                status,
            )
        )
        self.check(status)

    def check(self, status):
        """Raises the error that a status holds, and deletes it."""
        code = self.tf.TF_GetCode(status)
        message = self.tf.TF_Message(status).decode(errors="replace")
        self.tf.TF_DeleteStatus(status)
        if code:
            raise RuntimeError(message)

    def run(self, inputs, outputs):
        """Returns the arrays of `outputs`, given those of `inputs`."""
        status = ctypes.c_void_p(self.tf.TF_NewStatus())  # of this thread
        values = (ctypes.c_void_p * len(inputs))(
            *map(self.to_tensor, inputs.values())
        )
        results = (ctypes.c_void_p * len(outputs))()
        self.tf.TF_SessionRun(
            self.session,
            None,
            self.places(inputs),
            values,
            len(inputs),
            self.places(outputs),
            results,
            len(outputs),
            None,
            0,
            None,
            status,
        )
        for value in values:
            self.tf.TF_DeleteTensor(ctypes.c_void_p(value))
        self.check(status)
        return [self.to_array(result) for result in results]

    def places(self, names):
        """Converts names such as "call:0"."""
        places = (Output * len(names))()
        for place, name in zip(places, names, strict=True):
            operation, _, index = name.partition(":")
            place.operation = self.tf.TF_GraphOperationByName(
                self.graph, operation.encode()
            )
            place.index = int(index)
        return places

    def to_tensor(self, array):
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        is_string = array.dtype.kind == "O"
        size = array.size * STRING_SIZE if is_string else array.nbytes
        tensor = ctypes.c_void_p(
            self.tf.TF_AllocateTensor(
                STRING if is_string else CODES[array.dtype],
                shape,
                array.ndim,
                ctypes.c_size_t(size),
            )
        )
        data = self.tf.TF_TensorData(tensor)
        if not is_string:
            ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, size)
            return tensor.value
        for number, value in enumerate(array.ravel()):
            place = ctypes.c_void_p(data + number * STRING_SIZE)
            self.tf.TF_StringInit(place)
            self.tf.TF_StringCopy(place, value, ctypes.c_size_t(len(value)))
        return tensor.value

    def to_array(self, result):
        tensor = ctypes.c_void_p(result)
        shape = [
            self.tf.TF_Dim(tensor, axis)
            for axis in range(self.tf.TF_NumDims(tensor))
        ]
        data = self.tf.TF_TensorData(tensor)
        code = self.tf.TF_TensorType(tensor)
        if code != STRING:
            size = self.tf.TF_TensorByteSize(tensor)
            raw = ctypes.string_at(data, size)
            array = np.frombuffer(raw, DTYPES[code]).reshape(shape).copy()
        else:
            array = np.empty(self.tf.TF_TensorElementCount(tensor), object)
            for number in range(len(array)):
                place = ctypes.c_void_p(data + number * STRING_SIZE)
                array[number] = ctypes.string_at(
                    self.tf.TF_StringGetDataPointer(place),
                    self.tf.TF_StringGetSize(place),
                )
            array = array.reshape(shape)
        self.tf.TF_DeleteTensor(tensor)
        return array


def held_bytes(process="self"):
    """What a process holds of the machine's memory; 0 where it cannot tell."""
    try:
        with open(f"/proc/{process}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except FileNotFoundError:  # not Linux
        return 0


def main(library, path, job):
    session = Session(library, path)
    with open(job, "rb") as file:
        requests = pickle.load(file)
    answers, memory = [], []
    for inputs, outputs in requests:
        try:
            answers.append(session.run(inputs, outputs))
        except RuntimeError as error:
            answers.append(str(error))
        memory.append(held_bytes())
    assert not {"tensorflow", "keras", "actx_tf"} & set(sys.modules)
    with open(f"{job}.out", "wb") as file:
        pickle.dump(answers, file)
    with open(f"{job}.memory", "wb") as file:
        pickle.dump(memory, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
