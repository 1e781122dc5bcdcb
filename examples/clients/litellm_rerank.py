"""litellm: cohere/ and jina_ai/ keep the classes of errors, hosted_vllm/ passes the instruction on."""

import os

from litellm import rerank

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

for provider in ("cohere", "jina_ai", "hosted_vllm"):
    instruction = {"instruction": "Find passages about biology"} if provider == "hosted_vllm" else {}
    asked = {"query": QUERY, "documents": TEXTS, "top_n": 3, "api_base": URL, "api_key": KEY, **instruction}
    for result in rerank(model=f"{provider}/nano", **asked).results:
        print(f"{result['relevance_score']:.3f}  {TEXTS[result['index']]}")
