"""decisions-reranker, which asks /v1/decisions."""

import os

from decisions_reranker import DecisionsReranker, Document
from openai import OpenAI

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

reranker = DecisionsReranker(OpenAI(api_key=KEY, base_url=f"{URL}/v1"), model="nano", instruction="{document}")
for found in reranker.rerank(QUERY, [Document(str(index), text) for index, text in enumerate(TEXTS)]):
    print(f"{found.score:.3f}  {found.text}")
