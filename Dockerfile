# The environment of constraints.txt and the command `cellcount`, in a clone:
#
#   docker build --tag cellcount --build-arg REVISION=$(git rev-parse HEAD) .
#   docker run --rm --user $(id -u):$(id -g) --volume "$PWD:/work" cellcount count field.tif --out counts
#
# apptainer.def is the same for clusters. The base is pinned by its tag; who has a registry pins it by its digest (@sha256:...).
FROM python:3.11.13-slim-bookworm

ARG REVISION=unknown
LABEL org.opencontainers.image.title="cellcount" \
      org.opencontainers.image.description="Counting cells in phase-contrast images from sparse and noisy clicks" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.revision="$REVISION"

RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/cellcount
COPY pyproject.toml constraints.txt Makefile README.md LICENSE LICENSE-text ./
COPY cellcount cellcount
RUN PIP_NO_CACHE_DIR=1 make env

# A caller's own number (--user) has no home: caches go to one that everybody may write.
RUN useradd --create-home cellcount && chmod 1777 /home/cellcount
ENV PATH=/opt/cellcount/.venv/bin:$PATH HOME=/home/cellcount
USER cellcount
WORKDIR /work
ENTRYPOINT ["cellcount"]
