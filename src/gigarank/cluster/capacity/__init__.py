"""How many replicas a load needs: a simulation in time of the engine's own schedule, and what a batch costs as data."""
