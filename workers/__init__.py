"""Verbs on one machine, free of any engine: every function is (key or value, settings, rng) -> value."""
