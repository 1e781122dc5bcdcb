#!/usr/bin/env bash
# curl: a rerank request in the format that most clients speak.
set -euo pipefail
curl --silent --show-error --fail-with-body "${GIGARANK_URL:-http://127.0.0.1:8000}/v1/rerank" \
  --header "Authorization: Bearer ${GIGARANK_API_KEY:-none}" --header "Content-Type: application/json" \
  --data '{"model": "nano", "query": "How do plants turn sunlight into energy?", "top_n": 2,
    "documents": ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]}'
