"""Work and models on the machines of a Ray cluster, or on this one: many rows ranked once by Ray Data, requests by Ray Serve.

many and what it is made of: any number of rows, resumable. options: what is deployed to answer requests. replica: the
engine in a replica. scaling: how many of them. application: what Ray Serve is told. client: the cluster as a server asks it.
capacity: how many replicas a load needs, simulated without Ray.
Knows no HTTP, and nothing of who asks.
"""
