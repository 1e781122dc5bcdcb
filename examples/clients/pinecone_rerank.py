"""pinecone."""

import os

from pinecone import Pinecone

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

client = Pinecone(api_key=KEY, host=URL)
for result in client.inference.rerank(model="nano", query=QUERY, documents=TEXTS).data:
    print(f"{result.score:.3f}  {result.document['text']}")
