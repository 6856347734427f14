# The sidecar's image: two stages, so that the second has the packages and nothing that it took to install them.
# Tags pin the base here; a build that must be the same in a year pins its digest: --build-arg PYTHON=python@sha256:...
ARG PYTHON=python:3.13-slim-trixie

# hadolint ignore=DL3006
FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
# --copies would bring a second interpreter: the links lead to the base's, which is the same in both stages.
RUN python3 -m venv --without-pip /app
# First what changes seldom. Every file is checked against its hash; nothing is compiled here.
COPY requirements.txt requirements-build.txt ./
RUN python3 -m pip --python /app/bin/python install --no-compile --no-deps --only-binary=:all: \
        --require-hashes --requirement requirements.txt && \
    python3 -m venv /build && \
    /build/bin/pip install --no-deps --only-binary=:all: --require-hashes --requirement requirements-build.txt
COPY CHANGELOG.md LICENSE README.md pyproject.toml ./
COPY sidecar sidecar
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . && \
    python3 -m pip --python /app/bin/python install --no-compile --no-deps --no-index /wheel/*.whl && \
    install --directory --owner=65532 --group=65532 --mode=0700 /data
# Bytecode of the packages, and of what they use of the standard library: the base comes without, and a read-only root
# would have it compiled at each start.
ENV PYTHONPYCACHEPREFIX=/bytecode
RUN /app/bin/python -m compileall -q --invalidation-mode unchecked-hash /app/lib && \
    /app/bin/python -c "import sidecar.__main__, sidecar.app, sidecar.kubernetes.health, sidecar.kubernetes.inject, uvloop"

# hadolint ignore=DL3006
FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="token-budget-sidecar" \
      org.opencontainers.image.description="Watches, grants and cleans up the context window of an LLM agent, from beside it." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="python:3.13-slim-trixie"
# hadolint ignore=DL3064
ENV PATH=/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/bytecode \
    PYTHONUNBUFFERED=1 \
    TOKEN_BUDGET_JOURNAL=sqlite:////data/journal.db
COPY --from=build /app /app
COPY --from=build /bytecode /bytecode
# The only place it writes to; a volume, so that the root may be read-only.
COPY --from=build --chown=65532:65532 /data /data
VOLUME ["/data"]
USER 65532:65532
WORKDIR /data
# Metrics and health. The API (8321) and OTLP (4318) are on loopback, for those who share the network namespace.
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=20s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-m", "sidecar.kubernetes.health"]
ENTRYPOINT ["token-budget-sidecar"]
CMD ["serve"]
