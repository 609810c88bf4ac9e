"""The arithmetic in which a backbone makes features."""

import os
import pathlib
import re
import warnings

import tensorflow as tf

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.fold_batch_norms import fold_batch_norms

COMPUTE_DTYPES = ("float32", "bfloat16")
_CPU_INFO = pathlib.Path("/proc/cpuinfo")


def for_inference(backbone: Backbone, compute_dtype: str) -> Backbone:
    """Returns a backbone that makes the same features, sooner.

    Args:
        backbone: The backbone; what is trained of it later does not change
            what is returned.
        compute_dtype: `"float32"`, or `"bfloat16"` for products that take
            about half of the time on processors that have it. On others a
            `RuntimeWarning` says that they take longer, and that 3D
            convolutions, which add up in bfloat16 there, are less exact.

    Raises:
        ValueError: If `compute_dtype` is another one, or the network cannot
            compute in it.
    """
    check_compute_dtype(compute_dtype)
    if compute_dtype == "bfloat16":
        if not _multiplies_bfloat16():
            warnings.warn(
                "this processor is not known to multiply bfloat16 "
                "(avx512_bf16, amx_bf16, ARM's bf16, or a GPU): it may take "
                "much longer than float32, and 3D convolutions are less exact",
                RuntimeWarning,
                stacklevel=2,
            )
        return fold_batch_norms(backbone, "mixed_bfloat16")
    lower = any(
        layer.compute_dtype in ("bfloat16", "float16")
        for layer in backbone.network._flatten_layers()
    )
    return fold_batch_norms(backbone, "float32" if lower else None)


def check_compute_dtype(compute_dtype: str) -> None:
    """Raises `ValueError` if it is not one of `COMPUTE_DTYPES`."""
    if compute_dtype not in COMPUTE_DTYPES:
        raise ValueError(
            f"`compute_dtype` must be one of {COMPUTE_DTYPES}. "
            f"Received: compute_dtype={compute_dtype!r}"
        )


def _multiplies_bfloat16():
    if tf.config.list_physical_devices("GPU"):
        return True
    # Without oneDNN TensorFlow has no product of bfloat16 on a CPU.
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return False
    if not _CPU_INFO.is_file():
        return False
    return bool(
        re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", _CPU_INFO.read_text())
    )
