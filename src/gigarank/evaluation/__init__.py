"""Evaluation: two-stage retrieval measured on labelled sets, with provenance. Knows the engine; no transport, no training."""
