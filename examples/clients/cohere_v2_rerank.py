"""cohere, the v2 client."""

import os

import cohere

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

client = cohere.ClientV2(KEY, base_url=URL)
for result in client.rerank(model="nano", query=QUERY, documents=TEXTS, max_tokens_per_doc=512).results:
    print(f"{result.relevance_score:.3f}  {TEXTS[result.index]}")
