# Images of forcegate. A target is an image that works; there is none for what does not exist yet.
#
#   docker build --target gateway-embedded --tag forcegate-gateway .
#   docker build --target trainer --tag forcegate-trainer .
#
# A machine without a GPU wants the CPU build of torch; the default index brings several GB of CUDA:
#
#   docker build --build-arg PIP_EXTRA_INDEX_URL=<index with CPU builds of torch> …
#
# "gateway-embedded" carries torch, because the embedded runtime is the only one for trained models.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm


FROM ${PYTHON_IMAGE} AS build
# Only in this stage, so that an index with a password stays out of the images' history.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PATH=/opt/forcegate/bin:$PATH
WORKDIR /source
RUN python -m venv /opt/forcegate
# The one large download, in a layer that changes only with the pinned versions.
COPY constraints.txt ./
RUN pip install --constraint constraints.txt torch
COPY pyproject.toml README.md ./
COPY clients/ clients/
COPY service/ service/
COPY trainer/ trainer/
# forcegate requires forcegate-client of the same version: both come from this checkout.
RUN pip install --constraint constraints.txt './clients[data]' '.[service]'


FROM build AS build-trainer
RUN pip install --constraint constraints.txt '.[trainer]'


FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 10001 forcegate \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home forcegate
# Caches go where a read-only root has a tmpfs. USER serves libraries that ask for a name when the
# container runs under a number that nobody has (docker run --user).
ENV PATH=/opt/forcegate/bin:$PATH \
    HOME=/tmp \
    USER=forcegate \
    PYTHONUNBUFFERED=1


FROM base AS trainer
# Training compiles its step, which needs a C++ compiler at run time.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build-trainer /opt/forcegate /opt/forcegate
# Mount data, runs and model_repository here:
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" forcegate-trainer fit …
WORKDIR /work
USER forcegate
ENTRYPOINT ["forcegate-train"]
CMD ["--help"]


FROM base AS gateway-embedded
COPY --from=build /opt/forcegate /opt/forcegate
# What this checkout serves; mount another repository over it to serve that one.
COPY model_repository/ /srv/model_repository/
WORKDIR /srv
# Inside a container loopback is reached by nobody, so it listens on every address. It refuses to
# start like that until somebody consents with FORCEGATE_ALLOW_ANONYMOUS=true: only whoever
# publishes the port knows who can reach it. docker-compose.yml does, for this machine alone.
ENV FORCEGATE_HOST=0.0.0.0 \
    FORCEGATE_PORT=8000 \
    FORCEGATE_MODEL_REPOSITORY=/srv/model_repository
EXPOSE 8000
USER forcegate
# http.client, because unlike urllib it never takes the way through a proxy of the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['FORCEGATE_PORT']), timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["forcegate-serve"]
