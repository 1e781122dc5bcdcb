"""dashscope, in its native format."""

import os

import dashscope

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

dashscope.base_http_api_url = f"{URL}/api/v1"
answer = dashscope.TextReRank.call(model="nano", query=QUERY, documents=TEXTS, api_key=KEY, instruct="Find facts")
for result in answer.output.results:
    print(f"{result.relevance_score:.3f}  {TEXTS[result.index]}")
