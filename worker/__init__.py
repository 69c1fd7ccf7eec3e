"""Machinery: what runs the verbs. Here, and only here, are the environment and the clock read."""
