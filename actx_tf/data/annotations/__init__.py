"""Readers of data sets' annotation files, as their owners publish them, and
of a folder of videos.

Each returns a list of `Clip`, in the order of the files; those of untrimmed
videos return `UntrimmedVideos`, whose method `clips` does, and `look_through`
also what it left out. The videos themselves are not read: one that is missing
stays in the list.
"""

from actx_tf.data.annotations.action_thread import (
    read_action_thread as read_action_thread,
)
from actx_tf.data.annotations.activitynet import (
    read_activitynet as read_activitynet,
)
from actx_tf.data.annotations.folder import LeftOut as LeftOut
from actx_tf.data.annotations.folder import look_through as look_through
from actx_tf.data.annotations.gmdcsa import read_gmdcsa as read_gmdcsa
from actx_tf.data.annotations.hacs import read_hacs as read_hacs
from actx_tf.data.annotations.hollywood2 import (
    read_hollywood2 as read_hollywood2,
)
from actx_tf.data.annotations.jhmdb import read_jhmdb as read_jhmdb
from actx_tf.data.annotations.jhmdb import read_jhmdb_masks as read_jhmdb_masks
from actx_tf.data.annotations.kth import read_kth as read_kth
from actx_tf.data.annotations.thumos14 import read_thumos14 as read_thumos14
from actx_tf.data.annotations.ucf101 import read_ucf101 as read_ucf101
from actx_tf.data.annotations.ucf101_24 import read_ucf101_24 as read_ucf101_24
from actx_tf.data.annotations.ucf101_24 import (
    read_ucf101_24_tubes as read_ucf101_24_tubes,
)
from actx_tf.data.annotations.untrimmed import UntrimmedVideo as UntrimmedVideo
from actx_tf.data.annotations.untrimmed import (
    UntrimmedVideos as UntrimmedVideos,
)
from actx_tf.data.annotations.ut_interaction import (
    read_ut_interaction as read_ut_interaction,
)
from actx_tf.data.annotations.voc_action import (
    read_voc_action as read_voc_action,
)
