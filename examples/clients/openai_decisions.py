"""openai: P(yes) of any statement about an input, through the Decisions API."""

import os

from openai import OpenAI

URL = os.environ.get("GIGARANK_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("GIGARANK_API_KEY", "none")
QUERY = "How do plants turn sunlight into energy?"
TEXTS = ["The stock market fell on Friday.", "Plants turn sunlight into sugar.", "Bread rises because of yeast."]

client = OpenAI(api_key=KEY, base_url=f"{URL}/v1")
questions = [{"type": "predicate", "name": str(index), "instructions": text} for index, text in enumerate(TEXTS)]
answers = client.decisions.create(model="nano", input=QUERY, questions=questions).answers
for answer in sorted(answers, key=lambda answer: -answer.probability):
    print(f"{answer.probability:.3f}  {TEXTS[int(answer.name)]}")
