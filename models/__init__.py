"""Nouns: what is true, and the rules that decide."""
