# One image for every process: `serve`, `worker`, `migrate`, `cleanup`. Pin the base by digest when you release:
#   docker build --build-arg BASE=python:3.13-slim-bookworm@sha256:… --tag trunkline:0.1.0 .
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
# The environment has no pip of its own; the base's pip fills it, with wheels only: nothing is compiled here.
RUN python3 -m venv --without-pip /opt/trunkline && python3 -m venv /opt/build
COPY requirements/runtime.txt requirements/
RUN /opt/build/bin/pip --python /opt/trunkline/bin/python install --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY k8s/image/build.txt k8s/image/
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: -r k8s/image/build.txt
COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /opt/wheel . \
    && /opt/build/bin/pip --python /opt/trunkline/bin/python install --no-deps --no-index /opt/wheel/trunkline-*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="Trunkline" \
      org.opencontainers.image.description="The multi-tenant backend behind a fleet of Vapi voice assistants"
COPY --from=build /opt/trunkline /opt/trunkline
# Safe path: a stray module in the working directory shadows nothing. No home: nothing there is read or written.
ENV PATH=/opt/trunkline/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/nonexistent
WORKDIR /tmp
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8080 8081 9090
ENTRYPOINT ["trunkline"]
CMD ["serve"]
