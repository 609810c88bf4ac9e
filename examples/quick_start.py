"""The package in a page: trains ActX on built-in clips and draws its maps.

    python examples/quick_start.py

The clips show one of eight motions. In training the scene gives the class away
in 95% of them, at test never: average pooling learns the scene, ActX the actor.
"""

import argparse

import keras

import actx_tf
from actx_tf.data import synthetic
from actx_tf.visualization import attention_figure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--train_clips", type=int, default=2400)
parser.add_argument("--figure", default="quick_start.png")
arguments = parser.parse_args()
keras.utils.set_random_seed(0)

# Videos become feature maps, (clips, time, height, width, channels).
backbone = synthetic.backbone()
train = synthetic.make_part("train", arguments.train_clips)
test = synthetic.make_part("test", 200)
features = backbone.predict(train.videos, verbose=0)
conjugates = backbone.predict(train.conjugates, verbose=0)
test_features = backbone.predict(test.videos, verbose=0)


def compiled(model):
    model.compile(
        optimizer=keras.optimizers.Adam(3e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


average = compiled(
    keras.Sequential(
        [keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(8)]
    )
)
average.fit(features, train.labels, epochs=arguments.epochs, verbose=0)

actx = compiled(
    actx_tf.models.ActX(8, similarity_weight=0.1, difference_weight=30.0)
)
pairs = {"features": features, "conjugate": conjugates}
actx.fit(pairs, train.labels, epochs=arguments.epochs, verbose=2)

for name, model in (("average pooling", average), ("ActX", actx)):
    scores = model.evaluate(
        test_features, test.labels, verbose=0, return_dict=True
    )
    print(f"{name}: accuracy {scores['accuracy']:.3f} (chance 0.125)")

# Where it looks, though no label said so.
outputs = actx.predict(test_features[:4], verbose=0)
attention_figure(
    test.videos[:4], outputs["action_map"], outputs["context_map"]
).savefig(arguments.figure, bbox_inches="tight")
print(f"written: {arguments.figure}")
