"""vllm-haystack: the instruction goes into extra_parameters."""

import os

from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.vllm import VLLMRanker

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

EXTRA = {"instruction": "Find passages about biology"}
ranker = VLLMRanker(model="nano", api_key=Secret.from_token(KEY), api_base_url=f"{URL}/v1", extra_parameters=EXTRA)
for document in ranker.run(query=QUERY, documents=[Document(content=text) for text in TEXTS])["documents"]:
    print(f"{document.score:.3f}  {document.content}")
