# Weir alone: one static binary, the certificates of the public authorities, and a place for data. No shell, no root.
#
#   docker build --tag weir .
#   docker run --rm --volume weir:/data weir key create --name first     # prints the key, this once
#   docker run --publish 8000:8000 --volume weir:/data --stop-timeout 35 weir

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends musl-tools \
 && rustup target add "$(uname -m)-unknown-linux-musl"
# C parts, such as the cryptography, are compiled for musl, too.
ENV CC_x86_64_unknown_linux_musl=musl-gcc CC_aarch64_unknown_linux_musl=musl-gcc
WORKDIR /weir
COPY . .
RUN cargo build --locked --release --package weir --target "$(uname -m)-unknown-linux-musl" \
 && mkdir --parents /out/data \
 && cp "target/$(uname -m)-unknown-linux-musl/release/weir" /out/weir

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/weir /weir
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV WEIR_LISTEN=0.0.0.0:8000 WEIR_DATA=/data WEIR_LOG_FORMAT=json
EXPOSE 8000
VOLUME /data
# The default, written down: Weir drains on it (docs/how-to/operations.md), for up to 29 seconds unless its settings say otherwise.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/weir", "health"]
ENTRYPOINT ["/weir"]
