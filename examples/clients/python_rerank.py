"""Python alone, without a package."""

import json
import os
import urllib.request

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

body = json.dumps({"model": "nano", "query": QUERY, "documents": TEXTS}).encode()
headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
with urllib.request.urlopen(urllib.request.Request(f"{URL}/v1/rerank", body, headers)) as answer:
    for result in json.load(answer)["results"]:
        print(f"{result['relevance_score']:.3f}  {TEXTS[result['index']]}")
