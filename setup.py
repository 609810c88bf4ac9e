import re
from pathlib import Path

from setuptools import find_packages
from setuptools import setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (ROOT / "actx_tf" / "__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

EXTRAS = {
    "cuda": ["tensorflow[and-cuda]>=2.21"],
    "video": [
        "av",
        "opencv-python-headless",
        "tqdm",
        "matplotlib",
        "pillow",
        "tensorboard",
    ],
    "mining": ["faiss-cpu"],
    "pose": ["ai-edge-litert"],
    "ray": ["ray[data,train]"],
    "serving": ["tensorflow-serving-api", "requests"],
    "onnx": ["tf2onnx"],
    "dev": [
        "mlserver",
        "onnxruntime",
        "openvino",
        "pytest",
        "pytest-xdist",
        "ruff",
        "scikit-learn",
        "selenium",
        "scipy",
        "jax",
        "torch==2.13.0",
    ],
}

setup(
    name="actx_tf",
    version=VERSION,
    description="Attentive action and context factorization for Keras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["actx_tf", "actx_tf.*"]),
    package_data={"actx_tf.data": ["*.npz"]},
    python_requires=">=3.10",
    install_requires=[
        "tensorflow>=2.21",
        "keras>=3.15",
        "numpy",
        "h5py",
        "absl-py",
    ],
    extras_require=EXTRAS,
)
