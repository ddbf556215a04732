# The image that trains on NVIDIA GPUs: the worker image's content on a CUDA base, with a compiler for torch.compile
# and the libraries of RDMA networks.
#
#   buildah build -f dockerfiles/train.Dockerfile -t phenoscale/train-python:0.1.0 .
#
# torch's wheels bring the CUDA libraries; the base only has to fit the driver. Its Python must be 3.11 or 3.12.
ARG BASE_IMAGE=docker.io/nvidia/cuda:13.0.1-base-ubuntu24.04

FROM ${BASE_IMAGE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      ca-certificates gcc ibverbs-providers libc6-dev librdmacm1 python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --shell /usr/sbin/nologin phenoscale \
 && mkdir /workspace && chown 10001:10001 /workspace
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY platform platform
RUN python3 -m venv /opt/phenoscale \
 && /opt/phenoscale/bin/pip install --no-cache-dir --constraint constraints.txt ".[train,pipeline,mlflow]" \
 && rm -rf /build
ENV PATH=/opt/phenoscale/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /workspace
ENTRYPOINT ["phenoscale"]
CMD ["--help"]
