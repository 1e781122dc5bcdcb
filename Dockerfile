# docker build -t gigarank .            the CPU build
# docker run -p 8000:8000 -v gigarank:/data -e GIGARANK_API_KEYS=sk-... gigarank
FROM python:3.12-slim AS build
RUN python -m venv /opt/gigarank
ENV PATH=/opt/gigarank/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN pip install "torch>=2.11,<2.14" --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
ARG EXTRAS=serve,otel
RUN pip install "/src[${EXTRAS}]"

FROM python:3.12-slim
COPY --from=build /opt/gigarank /opt/gigarank
RUN useradd --system --uid 10001 --home-dir /data gigarank && install -d -o gigarank -g gigarank -m 0700 /data
ENV PATH=/opt/gigarank/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    GIGARANK_HOST=0.0.0.0 GIGARANK_PORT=8000 GIGARANK_STATE_DIR=/data/state GIGARANK_CACHE=/data/cache HF_HOME=/data/huggingface
USER gigarank
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"GIGARANK_PORT\"]}/health', timeout=2)"]
ENTRYPOINT ["gigarank"]
CMD ["serve"]
