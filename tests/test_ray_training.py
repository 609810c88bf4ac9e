"""Training on Ray, on this machine with two workers."""

import functools
import json
import os
import time
from pathlib import Path

import pytest

from actx_tf.experiments import train_on_ray

ray = pytest.importorskip("ray")


def note_config(folder):
    """Leaves what a worker was told, and fails when all have."""
    config = json.loads(os.environ["TF_CONFIG"])
    index = config["task"]["index"]
    known = {"workers": config["cluster"]["worker"], "folder": os.getcwd()}
    Path(folder, f"{index}.json").write_text(json.dumps(known), "utf-8")
    while len(list(Path(folder).glob("*.json"))) < 2:
        time.sleep(0.1)
    raise ValueError("no such store")


def test_each_worker_knows_of_all_and_what_fails_is_raised(tmp_path):
    ray.init(log_to_driver=False)
    try:
        with pytest.raises(RuntimeError, match="no such store"):
            train_on_ray(
                functools.partial(note_config, str(tmp_path)),
                tmp_path / "ray",
                workers=2,
                retries=0,
            )
    finally:
        ray.shutdown()
    one, other = (
        json.loads((tmp_path / f"{index}.json").read_text("utf-8"))
        for index in range(2)
    )
    assert one == other
    assert len(set(one["workers"])) == 2
    assert one["folder"] == os.getcwd()
