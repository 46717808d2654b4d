# The image of the server. docs/deployment.md tells how to run it; compose.yaml runs it behind a proxy.
#   docker build --tag tokenkeep:0.1.0 .
# The same image for both stages, so that the environment made in one works in the other. Pin it by digest in your own builds.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
# The only step that needs a package registry: wheels in the pinned versions, refused unless their hashes are the pinned ones.
COPY requirements/server.txt requirements/
RUN python -m pip download --quiet --require-hashes --only-binary :all: --requirement requirements/server.txt --dest /wheels \
 && python -m venv /build \
 && /build/bin/python -m pip install --quiet --no-index --find-links /wheels hatchling
COPY pyproject.toml README.md LICENSE ./
COPY src src
# An environment without pip that holds what the server imports, and not what built it.
RUN /build/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/tokenkeep \
 && /build/bin/python -m pip --python /opt/tokenkeep/bin/python install --quiet --no-compile --no-index --find-links /wheels 'tokenkeep[server,redis]' \
 && /opt/tokenkeep/bin/python -m compileall -q /opt/tokenkeep/lib

FROM ${PYTHON_IMAGE}
# Nothing here installs anything any more.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip setuptools wheel \
 && rm -rf /usr/local/lib/python3.*/ensurepip \
 && install -d -m 0700 -o 10001 -g 10001 /data
COPY --from=build /opt/tokenkeep /opt/tokenkeep
COPY deploy/healthcheck.py /opt/tokenkeep/healthcheck.py
# The server makes /data/tokenkeep itself, closed to others, whatever the mode of the volume.
# Listening on every address is refused until an https issuer and trusted_proxies, or tls_cert and tls_key, are set.
ENV PATH=/opt/tokenkeep/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TOKENKEEP_DATA_DIR=/data/tokenkeep \
    TOKENKEEP_HOST=0.0.0.0
USER 10001:10001
WORKDIR /
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "/opt/tokenkeep/healthcheck.py"]
ENTRYPOINT ["tokenkeep"]
CMD ["serve"]
