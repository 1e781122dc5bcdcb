"""Training: data, recipes, losses, merging and export. Knows the engine; no transport, no evaluation."""
