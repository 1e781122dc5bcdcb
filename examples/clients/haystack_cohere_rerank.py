"""cohere-haystack."""

import os

from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

ranker = CohereRanker(model="nano", api_key=Secret.from_token(KEY), api_base_url=URL)
for document in ranker.run(query=QUERY, documents=[Document(content=text) for text in TEXTS])["documents"]:
    print(f"{document.score:.3f}  {document.content}")
