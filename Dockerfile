# syntax=docker/dockerfile:1
# Images of Fleetfit: targets operator, runtime (CPU) and runtime-openvino.
#
#   docker build --target operator --tag fleetfit/operator:0.1.0 .
#   docker build --target runtime  --tag fleetfit/runtime:0.1.0 .
#
# Another build of ONNX Runtime (CUDA, MIGraphX, a Jetson wheel) needs a lock file of its own, since an environment holds
# only one: put locks/runtime-cuda.txt beside the others and build `--target runtime --build-arg LOCK=runtime-cuda`.
ARG PYTHON=python:3.11-slim
ARG LOCK=runtime

FROM ${PYTHON} AS wheel
# For the runtime's C library; the images that run have no compiler.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY locks/build.txt locks/build.txt
RUN python -m pip install --no-cache-dir --require-hashes --requirement locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY crds/fleetfit_api crds/fleetfit_api
COPY kube kube
COPY operator operator
COPY device_runtime device_runtime
COPY training/fleetfit_training training/fleetfit_training
COPY cli cli
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${PYTHON} AS operator-environment
COPY locks/operator.txt /locks/operator.txt
RUN python -m venv /opt/fleetfit \
 && /opt/fleetfit/bin/pip install --no-cache-dir --require-hashes --requirement /locks/operator.txt
COPY --from=wheel /wheels /wheels
RUN /opt/fleetfit/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM ${PYTHON} AS runtime-environment
ARG LOCK
COPY locks/${LOCK}.txt /locks/runtime.txt
RUN python -m venv /opt/fleetfit \
 && /opt/fleetfit/bin/pip install --no-cache-dir --require-hashes --requirement /locks/runtime.txt
COPY --from=wheel /wheels /wheels
RUN /opt/fleetfit/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM ${PYTHON} AS openvino-environment
COPY locks/openvino.txt /locks/runtime.txt
RUN python -m venv /opt/fleetfit \
 && /opt/fleetfit/bin/pip install --no-cache-dir --require-hashes --requirement /locks/runtime.txt
COPY --from=wheel /wheels /wheels
RUN /opt/fleetfit/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM ${PYTHON} AS base
ENV PATH=/opt/fleetfit/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532

FROM base AS operator
# LightGBM's OpenMP runtime is not part of the slim image.
USER root
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
USER 65532:65532
COPY --from=operator-environment /opt/fleetfit /opt/fleetfit
EXPOSE 8081
ENTRYPOINT ["python", "-m", "fleetfit_operator"]

FROM base AS runtime-openvino
COPY --from=openvino-environment /opt/fleetfit /opt/fleetfit
EXPOSE 8080
ENTRYPOINT ["python", "-m", "fleetfit_runtime"]

FROM base AS runtime
COPY --from=runtime-environment /opt/fleetfit /opt/fleetfit
EXPOSE 8080
ENTRYPOINT ["python", "-m", "fleetfit_runtime"]
