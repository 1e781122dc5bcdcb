"""HTTP around the endpoints: limits, keys, request ids, errors, logs, metrics, traces, and an orderly end."""
