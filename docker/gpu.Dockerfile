# The GPU image; needs no GPU to be built. Classic builder: no RUN --mount, no heredocs, no COPY --chmod.
# BASE is a Debian with python3 and its venv module.
ARG BASE

# The packages are installed in a stage of their own, so that neither the host's certificates nor
# the address of its package index enter the image or its history.
FROM ${BASE} AS packages
LABEL feedrate=1 feedrate.kind=packages
RUN python3 -m venv /opt/feedrate
COPY ca-bundle.pem docker/requirements-gpu.txt /tmp/build/
ARG PIP_DEFAULT_TIMEOUT
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
RUN if [ -s /tmp/build/ca-bundle.pem ]; then export PIP_CERT=/tmp/build/ca-bundle.pem; fi \
    && /opt/feedrate/bin/pip install --no-cache-dir --disable-pip-version-check --progress-bar off --no-deps \
       --require-hashes --only-binary :all: --requirement /tmp/build/requirements-gpu.txt

FROM ${BASE}
COPY --from=packages /opt/feedrate /opt/feedrate
ENV PATH=/opt/feedrate/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/feedrate/code
ENTRYPOINT []
CMD ["python"]
# Last, because it changes most: a change of code builds in seconds.
COPY harness /opt/feedrate/code/harness
COPY dsgen /opt/feedrate/code/dsgen
RUN python -m compileall -q /opt/feedrate/code
