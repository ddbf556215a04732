# The image that runs every verb and every pipeline step on CPUs, as a user without rights.
#
#   buildah build -f dockerfiles/worker.Dockerfile -t phenoscale/worker-python:0.1.0 .
#
# BASE_IMAGE is a Debian 12 (its Python is 3.11). EXTRAS chooses what is installed: without `train` the image is
# 5 GB smaller and runs every verb that needs no encoder (simulate, ingest, curate, map, benchmark, report).
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BASE_IMAGE} AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The pinned dependencies are a layer of their own: a change of the code does not install them again.
COPY pyproject.toml constraints.txt README.md LICENSE ./
ARG EXTRAS=train,pipeline,dask,mlflow
RUN mkdir -p platform/phenoscale && touch platform/phenoscale/__init__.py \
 && python3 -m venv /opt/phenoscale \
 && /opt/phenoscale/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]" \
 && /opt/phenoscale/bin/pip uninstall --yes phenoscale
COPY platform platform
RUN rm -rf build && /opt/phenoscale/bin/pip install --no-cache-dir --no-deps .

FROM ${BASE_IMAGE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --shell /usr/sbin/nologin phenoscale \
 && mkdir /workspace && chown 10001:10001 /workspace
COPY --from=build /opt/phenoscale /opt/phenoscale
ENV PATH=/opt/phenoscale/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    MLFLOW_DISABLE_TELEMETRY=true
# What a run records as the image it ran in; a build that knows its digest sets it when it deploys.
ENV PHENOSCALE_IMAGE_DIGEST=""
USER 10001:10001
WORKDIR /workspace
ENTRYPOINT ["phenoscale"]
CMD ["--help"]
