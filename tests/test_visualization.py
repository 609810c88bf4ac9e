import numpy as np
import pytest

from actx_tf.visualization import attention_figure


def test_maps_are_drawn_on_the_frame_they_belong_to():
    video = np.zeros((8, 32, 48, 3), np.uint8)
    video[4:] = 200
    action_map = np.zeros((2, 2, 3))
    action_map[1, 0, 2] = 0.5
    figure = attention_figure(
        [video], [action_map], [1 - action_map], ["a clip"]
    )
    axes = figure.axes[:6]  # 3 rows of 2 steps; then the color bar
    assert axes[0].get_images()[0].get_array().max() == 0
    assert axes[1].get_images()[0].get_array().min() == 200
    drawn = axes[3].get_images()[1]
    assert np.unravel_index(np.argmax(drawn.get_array()), (2, 3)) == (0, 2)
    assert drawn.get_extent() == [0, 48, 32, 0]
    assert drawn.get_array().max() == pytest.approx(1.0)
    assert figure.subfigs[0].get_suptitle() == "a clip"


def test_numbers_of_clips_must_agree():
    with pytest.raises(ValueError, match="same number of clips"):
        attention_figure([np.zeros((8, 4, 4, 3))], [], [])
