# SPDX-License-Identifier: Apache-2.0
# Windlass in a container. Nothing but the program leaves the first stage.
#   docker build -t windlass .                              for your own handlers: FROM windlass, COPY them and jobs.yaml
#   docker build -t windlass:example --target example .     with the example jobs; what docker-compose.yml uses

FROM debian:12-slim AS build
WORKDIR /src
COPY tests/services/deps tests/services/deps
RUN tests/services/deps build
COPY . .
RUN make install DESTDIR=/out PREFIX=/usr \
    && strip /out/usr/bin/windlass /out/usr/share/windlass/jobs/*.so

FROM debian:12-slim AS runtime
# The libraries behind the -dev packages of tests/services/deps; exact versions are Debian stable's business.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libcjose0 libcurl4 libgnutls30 libjansson4 libmicrohttpd12 \
       libnghttp2-14 libpcre2-8-0 libpq5 libprotobuf-c1 \
       librabbitmq4 librdkafka1 libseccomp2 libsmartcols1 libsqlite3-0 libssl3 libwslay1 libyaml-0-2 tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/windlass --create-home windlass
COPY --from=build /out/usr /usr
COPY docker/ready /usr/lib/windlass/ready
# Workers and the dispatcher answer on the admin address; the gateway too, beside its own.
ENV WINDLASS_ADMIN_LISTEN=127.0.0.1:8081
USER 10001:10001
WORKDIR /var/lib/windlass
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["/usr/lib/windlass/ready"]
ENTRYPOINT ["windlass"]
CMD ["run"]

FROM runtime AS example
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log
USER 10001:10001
ENV WINDLASS_JOBS=/usr/share/windlass/jobs/jobs.yaml

FROM runtime AS windlass
