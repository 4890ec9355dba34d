"""Replicated state machines: consensus cores that run in a deterministic simulator and in production."""
