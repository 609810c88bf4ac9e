import numpy as np
import pytest
import tensorflow as tf

from actx_tf.export import export_saved_model
from actx_tf.models import ActX


@pytest.fixture
def model():
    model = ActX(3)
    model.build((None, None, None, None, 8))
    return model


def test_any_size_is_served_as_the_model_answers(model, tmp_path):
    serve = tf.saved_model.load(
        str(export_saved_model(model, tmp_path / "actx"))
    ).signatures["serving_default"]
    rng = np.random.default_rng(0)
    for shape in ((2, 4, 3, 5, 8), (1, 9, 6, 2, 8)):
        features = rng.normal(size=shape).astype("float32")
        served, expected = (
            serve(features=tf.constant(features)),
            model(features),
        )
        assert served.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(
                served[name], value, rtol=1e-5, atol=1e-6
            )


def test_versions_ascend_and_nothing_else_is_left(model, tmp_path):
    assert export_saved_model(model, tmp_path).name == "1"
    (tmp_path / "7").mkdir()
    assert export_saved_model(model, tmp_path).name == "8"
    assert {path.name for path in tmp_path.iterdir()} == {"1", "7", "8"}


def test_unbuilt_model_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(ValueError, match="`model` must be built"):
        export_saved_model(ActX(3), tmp_path / "actx")
    assert not (tmp_path / "actx").exists()
