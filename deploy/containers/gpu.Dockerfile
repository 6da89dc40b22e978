# The target gpu: NVIDIA's server with what our backend and steps import. From the repository's root:
#   docker build --file deploy/containers/gpu.Dockerfile --tag recserve-gpu:0.1.0 .
#   recserve serve --target gpu --image recserve-gpu:0.1.0 --repository my_models
# That command is what starts it: it compares the files, asks the golden requests and ends where the container does. Started
# by itself the image says so and ends, as nobody would see a model that died.
# Pin NVIDIA's image by its digest, as your registry gives it: a tag may be moved.
FROM nvcr.io/nvidia/tritonserver:26.06-py3

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_BREAK_SYSTEM_PACKAGES=1
COPY constraints.txt /recserve/constraints.txt
RUN pip install --constraint /recserve/constraints.txt \
    faiss-cpu jaxtyping libvalkey lmdb numpy onnx protobuf safetensors scipy torch triton tritonclient valkey
# Where recserve serve mounts its own copies: the image serves alone as well.
COPY serving /recserve/serving
COPY kernels /recserve/kernels
COPY client/recserve_client /recserve/recserve_client
COPY serving/backends/recserve /opt/tritonserver/backends/recserve
ENV PYTHONPATH=/recserve PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8001 8002
CMD ["sh", "-c", "echo 'start this image by: recserve serve --target gpu --image NAME --repository DIR' >&2; exit 2"]
