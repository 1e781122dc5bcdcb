"""openai: vectors of a query and of documents, compared by their dot product."""

import os

from openai import OpenAI

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

client = OpenAI(api_key=KEY, base_url=f"{URL}/v1")
vectors = [each.embedding for each in client.embeddings.create(model="qwen3-embedding-0.6b", input=[QUERY, *TEXTS]).data]
scores = [sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:]]
for score, text in sorted(zip(scores, TEXTS, strict=True), reverse=True):
    print(f"{score:.3f}  {text}")
