"""The server: other people's rerank clients in, the engine's scores out."""
