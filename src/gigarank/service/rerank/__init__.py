"""Reranking over HTTP: every dialect reads into one request, and writes from one answer."""
