# A base with this machine's own Rust toolchain, for machines that reach no registry of images; the context is `rustc --print sysroot`.
ARG BASE
FROM ${BASE}
RUN apt-get update \
 && apt-get install -y -qq --no-install-recommends gcc libc6-dev
COPY bin/ /usr/local/bin/
COPY lib/ /usr/local/lib/
