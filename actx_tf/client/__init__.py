"""Clients of TF Serving, by REST and by gRPC."""

from actx_tf.client.asking import ask as ask
from actx_tf.client.asking import ask_timeline as ask_timeline
from actx_tf.client.asking import describe as describe
from actx_tf.client.requests import ServingError as ServingError
from actx_tf.client.requests import ask_in_parts as ask_in_parts
from actx_tf.client.requests import predict_by_grpc as predict_by_grpc
from actx_tf.client.requests import predict_by_rest as predict_by_rest
