"""Tensors only: configuration, layers, weights. Knows no text and no HTTP."""
