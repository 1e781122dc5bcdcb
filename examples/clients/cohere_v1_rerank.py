"""cohere, the v1 client, which also gives the documents back."""

import os

import cohere

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

client = cohere.Client(KEY, base_url=URL)
for result in client.rerank(model="nano", query=QUERY, documents=TEXTS, return_documents=True).results:
    print(f"{result.relevance_score:.3f}  {result.document.text}")
