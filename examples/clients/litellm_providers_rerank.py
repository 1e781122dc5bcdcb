"""litellm: the other providers, each with what its `api_base` ends in."""

import os

from litellm import rerank

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

BASES = {"voyage": "/v1", "together_ai": "/v1", "deepinfra": "/v1", "dashscope": "/compatible-api/v1", "infinity": "/infinity"}
BASES |= dict.fromkeys(("fireworks_ai", "huggingface", "nvidia_nim", "azure_ai", "litellm_proxy"), "")
for provider, base in BASES.items():
    found = rerank(model=f"{provider}/nano", query=QUERY, documents=TEXTS, api_base=URL + base, api_key=KEY, top_n=3).results
    for result in sorted(found, key=lambda one: -one["relevance_score"]):  # DeepInfra's come in the documents' order
        print(f"{result['relevance_score']:.3f}  {TEXTS[result['index']]}")
