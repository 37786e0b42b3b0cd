# strace, and what a reference reader needs of Debian's packages, on any of the other images.
# Classic builder, like those.
ARG BASE
FROM ${BASE}
ARG PACKAGES
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io \
       ${PACKAGES} >/dev/null \
    && rm -rf /var/lib/apt/lists/*
