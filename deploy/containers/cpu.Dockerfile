# The target cpu: recserve with the tritonserver of its wheel. From the repository's root:
#   docker build --file deploy/containers/cpu.Dockerfile --tag recserve:0.1.0 .
# torch comes without CUDA from an index of its own: --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
FROM python:3.11-slim-bookworm AS built

ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/recserve
ENV PATH=/opt/recserve/bin:$PATH
WORKDIR /src
COPY . .
# torch brings files of its own tests that are of a newer Python.
RUN pip install --constraint constraints.txt ./client '.[s3]' \
    && python -m compileall -q -x '/torch/testing/_internal/' /opt/recserve/lib

FROM python:3.11-slim-bookworm

COPY --from=built /opt/recserve /opt/recserve
RUN useradd --uid 10001 --user-group --home-dir /tmp --no-create-home --shell /usr/sbin/nologin recserve \
    && install --directory --owner=10001 --group=10001 /data /models
ENV PATH=/opt/recserve/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    RECSERVE_CACHE=/data/cache
USER 10001:10001
EXPOSE 8001 8002 8003
STOPSIGNAL SIGTERM
ENTRYPOINT ["recserve"]
CMD ["serve", "--repository", "/models", "--state", "/data/state", "--histories", "lmdb:///data/histories", "--host", "0.0.0.0", "--insecure", "--metrics-host", "0.0.0.0", "--ready-port", "8003"]
