"""Models that others run: vLLM, asked for the exact prompt's logit, any server with a rerank route, or our own on a cluster.

addresses: where they are. client: one question to one of them. cluster: the same to replicas. asking: a request cut into such
questions, and put together. balance: whose turn it is, and who gets it. backend: all of that as a ScoringBackend.
"""
