"""Verbs: one use case a file, called with what it needs; none knows a broker or a scheduler."""
