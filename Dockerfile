# The server on a CPU. Build: docker build -t clothseg .
# Run: docker run --rm -p 127.0.0.1:8000:8000 clothseg
# More: docs/how-to/deploy.md

# The version that the whole test suite runs on.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
# A virtual environment, so that one folder contains all that the next stage needs. Compiled here, as nothing is writable there.
RUN python -m venv /opt/clothseg \
    && /opt/clothseg/bin/pip install --no-cache-dir --compile "$(echo /wheels/*.whl)[serve]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/clothseg /opt/clothseg
ENV PATH="/opt/clothseg/bin:$PATH" \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, not a name: orchestrators that refuse root can only tell from a number.
USER 10001:10001
WORKDIR /models
EXPOSE 8000
# The port inside the container; another --port needs another line here.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
# Without --model, the packaged starter model is served.
ENTRYPOINT ["clothseg", "serve", "--host", "0.0.0.0", "--port", "8000"]
