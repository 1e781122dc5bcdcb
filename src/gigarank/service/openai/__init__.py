"""OpenAI's endpoints: models, embeddings, decisions, and completions that answer yes or no."""
