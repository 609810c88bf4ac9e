"""From videos to pairs of feature maps."""

from actx_tf.data import annotations as annotations
from actx_tf.data import synthetic as synthetic
from actx_tf.data.actor_masks import masks_by_difference as masks_by_difference
from actx_tf.data.actor_masks import masks_by_motion as masks_by_motion
from actx_tf.data.augmentation import Augmentation as Augmentation
from actx_tf.data.backbone_input import seen_frames as seen_frames
from actx_tf.data.camera import camera_movement as camera_movement
from actx_tf.data.clip_index import Clip as Clip
from actx_tf.data.clip_index import UnfitClip as UnfitClip
from actx_tf.data.clip_index import class_names_of as class_names_of
from actx_tf.data.clip_index import read_clip_index as read_clip_index
from actx_tf.data.clip_index import write_clip_index as write_clip_index
from actx_tf.data.conjugates import (
    conjugates_around_crops as conjugates_around_crops,
)
from actx_tf.data.conjugates import (
    conjugates_before_and_after as conjugates_before_and_after,
)
from actx_tf.data.conjugates import mean_embeddings as mean_embeddings
from actx_tf.data.conjugates import nearest_negatives as nearest_negatives
from actx_tf.data.emptied import emptied as emptied
from actx_tf.data.extraction import FeatureExtractor as FeatureExtractor
from actx_tf.data.extraction import extract_features as extract_features
from actx_tf.data.feature_store import FeatureStore as FeatureStore
from actx_tf.data.feature_store_writer import (
    FeatureStoreWriter as FeatureStoreWriter,
)
from actx_tf.data.flow import optical_flow as optical_flow
from actx_tf.data.made_conjugates import (
    emptied_conjugates as emptied_conjugates,
)
from actx_tf.data.made_conjugates import frozen_conjugates as frozen_conjugates
from actx_tf.data.masks import Masks as Masks
from actx_tf.data.masks import write_masks as write_masks
from actx_tf.data.mixing import changing_locations as changing_locations
from actx_tf.data.mixing import merge_background as merge_background
from actx_tf.data.mixing import merge_moving as merge_moving
from actx_tf.data.mixing import mix_frame_of_another as mix_frame_of_another
from actx_tf.data.mixing import mix_own_frame as mix_own_frame
from actx_tf.data.mixing import moving_foreground as moving_foreground
from actx_tf.data.pair_checks import doubtful_pairs as doubtful_pairs
from actx_tf.data.pairs import (
    make_evaluation_dataset as make_evaluation_dataset,
)
from actx_tf.data.pairs import make_pair_dataset as make_pair_dataset
from actx_tf.data.people import store_people as store_people
from actx_tf.data.pose import PoseNetwork as PoseNetwork
from actx_tf.data.ray_extraction import (
    extract_features_on_ray as extract_features_on_ray,
)
from actx_tf.data.scene_tests import make_scene_tests as make_scene_tests
from actx_tf.data.scene_tests import mask_quality as mask_quality
from actx_tf.data.scene_tests import scene_test_indexes as scene_test_indexes
from actx_tf.data.segment_files import read_segments as read_segments
from actx_tf.data.segment_files import write_segments as write_segments
from actx_tf.data.similarities import store_similarities as store_similarities
from actx_tf.data.tubes import Tube as Tube
from actx_tf.data.tubes import read_tubes as read_tubes
from actx_tf.data.tubes import write_tubes as write_tubes
from actx_tf.data.video import ClipFrames as ClipFrames
from actx_tf.data.video import VideoError as VideoError
from actx_tf.data.video import read_clip as read_clip
from actx_tf.data.video import video_duration as video_duration
from actx_tf.data.video_clips import VideoClip as VideoClip
from actx_tf.data.video_clips import find_readable as find_readable
from actx_tf.data.video_pairs import make_video_dataset as make_video_dataset
from actx_tf.data.video_pairs import (
    make_video_pair_dataset as make_video_pair_dataset,
)
