# docker build -t orchestration-gateway .
# docker run --read-only --tmpfs /tmp -p 50051:50051 -p 8080:8080 -v orchestration:/var/lib/orchestration \
#     orchestration-gateway
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The locks first: their layer is made again only when one of them changed.
COPY requirements.lock requirements-build.lock ./
RUN python -m pip install --no-deps --only-binary :all: --require-hashes -r requirements-build.lock \
    && python -m venv --without-pip /opt/orchestration \
    && python -m pip --python /opt/orchestration/bin/python install \
        --no-deps --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY gateway gateway
COPY service service
COPY store store
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels . \
    && python -m pip --python /opt/orchestration/bin/python install --no-deps /tmp/wheels/*.whl

FROM python:${PYTHON_VERSION}-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /var/lib/orchestration orchestration \
    && install --directory --owner=orchestration --group=orchestration --mode=0700 /var/lib/orchestration
COPY --from=build /opt/orchestration /opt/orchestration
ENV PATH=/opt/orchestration/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORCHESTRATION_DATA_DIR=/var/lib/orchestration \
    ORCHESTRATION_GRPC_LISTEN=0.0.0.0:50051 \
    ORCHESTRATION_HTTP_LISTEN=0.0.0.0:8080 \
    ORCHESTRATION_LOG_FORMAT=json
# By number: only so can Kubernetes tell that it is not root (runAsNonRoot).
USER 10001
WORKDIR /var/lib/orchestration
VOLUME ["/var/lib/orchestration"]
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
# Asks gRPC on 127.0.0.1:50051; with another ORCHESTRATION_GRPC_LISTEN set ORCHESTRATION_SERVER, too.
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s CMD ["orchestration", "health"]
ENTRYPOINT ["orchestration"]
CMD ["serve"]
