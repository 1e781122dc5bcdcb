"""Bodies of requests and answers, kept for whoever asked for that, and for as long as that."""
