"""Tests of this kind run what the documentation shows: every fenced block of README.md and docs/, as a reader would."""
