"""The bench: the engine against its peers and against its own matrix products, interleaved in one run.

Needs the `bench` extra, and `dashscope` for the real vocabulary. Nothing outside this package and the command line imports it.
"""
