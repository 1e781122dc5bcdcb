"""Files and batches as OpenAI's: many requests in a file, asked when nothing else waits, at the batch tier's price."""
