"""Integers in, scores out: the tokenizer, the plan, the batches, the runner, and where checkpoints come from."""
