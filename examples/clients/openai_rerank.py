"""openai: it has no rerank method, so post to the path."""

import os

from openai import OpenAI

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

client = OpenAI(api_key=KEY, base_url=f"{URL}/v1")
body = {"model": "nano", "query": QUERY, "documents": TEXTS, "instruction": "Find passages about biology"}
answer = client.post("/rerank", body=body, cast_to=object)
for result in answer["results"]:
    print(f"{result['relevance_score']:.3f}  {TEXTS[result['index']]}")
