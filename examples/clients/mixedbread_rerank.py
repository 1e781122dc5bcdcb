"""mixedbread."""

import os

from mixedbread import Mixedbread

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

client = Mixedbread(api_key=KEY, base_url=URL)
for result in client.rerank(model="nano", query=QUERY, input=TEXTS).data:
    print(f"{result.score:.3f}  {TEXTS[result.index]}")
