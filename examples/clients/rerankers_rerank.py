"""rerankers: url is the whole address, api_provider says whose format is spoken."""

import os

from rerankers import Reranker

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

ranker = Reranker("nano", model_type="APIRanker", api_provider="cohere", verbose=0, api_key=KEY, url=f"{URL}/v1/rerank")
for result in ranker.rank(QUERY, TEXTS).results:
    print(f"{result.score:.3f}  {result.document.text}")
