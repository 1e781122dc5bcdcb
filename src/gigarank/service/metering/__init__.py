"""What a request of an account costs: limits, holding, settling, its row of usage, and the answer that it may ask again."""
