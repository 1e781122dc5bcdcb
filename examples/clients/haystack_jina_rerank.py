"""jina-haystack: base_url is the whole address."""

import os

from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.jina import JinaRanker

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

ranker = JinaRanker(model="nano", api_key=Secret.from_token(KEY), base_url=f"{URL}/v1/rerank")
for document in ranker.run(query=QUERY, documents=[Document(content=text) for text in TEXTS])["documents"]:
    print(f"{document.score:.3f}  {document.content}")
