"""Usage: what was asked, summed by day, key and model, for its account and for the operator."""
