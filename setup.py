import re
from pathlib import Path

from setuptools import find_packages
from setuptools import setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (ROOT / "actx_tf" / "version.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

EXTRAS = {
    "cuda": ["tensorflow[and-cuda]>=2.21"],
    "video": [
        "av>=17.1.0",
        "opencv-python-headless>=4.9.0.80",
        "tqdm>=4.66.0",
        "matplotlib>=3.8.0",
        "pillow",
        "tensorboard",
    ],
    "mining": ["faiss-cpu"],
    "pose": ["ai-edge-litert"],
    "ray": ["ray[data,train]"],
    "serving": ["tensorflow-serving-api"],
    "onnx": ["onnx", "onnxruntime", "tf2onnx"],
    # ruff: breaks the lines of long signatures.
    "docs": [
        "latex2mathml",
        "mkdocs-material>=9.7",
        "mkdocstrings[python]>=1.0",
        "ruff",
    ],
    "dev": [
        "codespell",
        "imageio-ffmpeg",
        "ipykernel",
        "keras-hub",
        "mlserver",
        "mypy",
        "nbclient",
        "onnx",
        "onnxruntime",
        "openvino",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "pyyaml",
        "requests",
        "ruff",
        "scikit-learn",
        "setuptools>=77",
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
    classifiers=[
        f"Programming Language :: Python :: {version}"
        for version in ("3.11", "3.12", "3.13")
    ],
    packages=find_packages(include=["actx_tf", "actx_tf.*"]),
    package_data={
        "actx_tf": ["py.typed"],
        "actx_tf.data": ["*.npz"],
        "actx_tf.visualization": ["*.html", "*.css", "*.js"],
    },
    python_requires=">=3.11",
    install_requires=[
        "tensorflow>=2.21.0",
        "keras>=3.15.0",
        "numpy>=1.26.0",
        "h5py>=3.11.0",
        "absl-py>=1.0.0",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["actx = actx_tf.cli.start:start"]},
)
