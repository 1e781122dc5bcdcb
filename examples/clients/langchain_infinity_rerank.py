"""langchain-community's InfinityRerank, whose client takes the key as a header."""

import os

from infinity_client.client import Client
from langchain_community.document_compressors.infinity_rerank import InfinityRerank
from langchain_core.documents import Document

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

client = Client(base_url=f"{URL}/infinity", headers={"Authorization": f"Bearer {KEY}"})
compressor = InfinityRerank(client=client, model="nano", top_n=3)
documents = [Document(page_content=text) for text in TEXTS]
for document in compressor.compress_documents(documents, QUERY):
    print(f"{document.metadata['relevance_score']:.3f}  {document.page_content}")
