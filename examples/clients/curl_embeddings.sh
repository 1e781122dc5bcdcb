#!/usr/bin/env bash
# curl: vectors of texts.
set -euo pipefail
curl --silent --show-error --fail-with-body "${GIGARANK_URL:-http://127.0.0.1:8000}/v1/embeddings" \
  --header "Authorization: Bearer ${GIGARANK_API_KEY:-none}" --header "Content-Type: application/json" \
  --data '{"model": "qwen3-embedding-0.6b", "input": ["Plants turn sunlight into sugar.", "Bread rises because of yeast."]}'
