# Builds with a compiler, ships without one. From the checkout: docker build -t nearfield .
FROM python:3.11-slim-bookworm AS builder

# Debian keeps only the newest build of a package, so a pinned version would soon not install.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY .ci/constraints.txt .ci/constraints.txt
COPY engine engine
COPY index_builders index_builders
COPY server server
COPY bench bench

# hnswlib compiles for the building machine's processor unless told not to; empty it to build for this machine only.
ARG HNSWLIB_NO_NATIVE=1
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_CONSTRAINT=/src/.ci/constraints.txt
RUN python3 -m venv /opt/nearfield \
 && /opt/nearfield/bin/pip install .


FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="nearfield" \
      org.opencontainers.image.description="Vector similarity search that knows its own recall" \
      org.opencontainers.image.licenses="Apache-2.0"

# libgomp1 is what hnswlib links to.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 nearfield \
 && useradd --system --uid 10001 --gid nearfield --no-create-home --home-dir /data nearfield \
 && install -d -o nearfield -g nearfield -m 0750 /data

COPY --from=builder /opt/nearfield /opt/nearfield

ENV PATH=/opt/nearfield/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NEARFIELD_DATA=/data \
    NEARFIELD_HOST=0.0.0.0 \
    NEARFIELD_PORT=6333

VOLUME /data
EXPOSE 6333
STOPSIGNAL SIGTERM
USER 10001:10001
WORKDIR /data

# The port is read where the server reads it; /readyz answers once every collection is open.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python3", "-c", "import os, urllib.request as r; \
        r.urlopen('http://127.0.0.1:' + os.environ['NEARFIELD_PORT'] + '/readyz', timeout=2)"]

ENTRYPOINT ["nearfield"]
CMD ["serve"]
