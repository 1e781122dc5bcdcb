"""llama-index-postprocessor-nvidia-rerank: it takes the first model that the server lists; the scores are logits."""

import os

from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.nvidia_rerank import NVIDIARerank

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

ranker = NVIDIARerank(api_key=KEY, base_url=f"{URL}/v1", top_n=3)
nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in TEXTS]
for found in ranker.postprocess_nodes(nodes, query_str=QUERY):
    print(f"{found.score:.3f}  {found.node.get_content()}")
