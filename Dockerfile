# One image for the API (`serve`), the workers (`worker`) and the migrations (`migrate`).
FROM python:3.11-slim-trixie AS builder
WORKDIR /build
COPY requirements.txt ./
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --only-binary :all: --require-hashes -r requirements.txt

FROM python:3.11-slim-trixie
# A font with Chinese letters, for posters. Debian keeps one version of it for each release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends fonts-wqy-microhei \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin kaituan
COPY --from=builder /venv /venv
WORKDIR /srv/kaituan
COPY pyproject.toml ./
COPY migrations migrations
COPY app app

# Production unless told otherwise: a container without settings refuses to start and names what is missing.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ENVIRONMENT=production \
    HOST=0.0.0.0 \
    PORT=8000 \
    WORKERS_INSIDE=false
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# For `serve`; other commands switch it off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
