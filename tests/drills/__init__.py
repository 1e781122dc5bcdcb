"""Drills: real processes, of which something is broken while clients ask, and what became of the requests and the money.

`scripts/drill` runs them at full size; tests/e2e/test_drills.py runs each at a small one.
"""
