"""langchain-fireworks: the instruction goes as `task`."""

import os

from langchain_core.documents import Document
from langchain_fireworks.rerank import FireworksRerank

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

compressor = FireworksRerank(model="nano", fireworks_api_key=KEY, base_url=f"{URL}/inference/v1", top_n=3)
documents = [Document(page_content=text) for text in TEXTS]
for document in compressor.compress_documents(documents, QUERY):
    print(f"{document.metadata['relevance_score']:.3f}  {document.page_content}")
