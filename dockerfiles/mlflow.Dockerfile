# The tracking server and model registry, with the MLflow version that the library is tested with.
#
#   buildah build -f dockerfiles/mlflow.Dockerfile -t phenoscale/mlflow-server:0.1.0 .
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BASE_IMAGE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --shell /usr/sbin/nologin mlflow \
 && mkdir /data && chown 10001:10001 /data
COPY constraints.txt /opt/constraints.txt
RUN python3 -m venv /opt/mlflow \
 && /opt/mlflow/bin/pip install --no-cache-dir --constraint /opt/constraints.txt mlflow boto3
ENV PATH=/opt/mlflow/bin:/usr/bin:/bin \
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /data
EXPOSE 5000
ENTRYPOINT ["mlflow"]
CMD ["server", "--host=0.0.0.0", "--port=5000"]
