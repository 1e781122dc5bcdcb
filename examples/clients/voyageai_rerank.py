"""voyageai."""

import os

import voyageai

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

client = voyageai.Client(api_key=KEY, base_url=f"{URL}/v1")
for result in client.rerank(QUERY, TEXTS, model="nano").results:
    print(f"{result.relevance_score:.3f}  {TEXTS[result.index]}")
