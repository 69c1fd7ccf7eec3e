"""The rules themselves: pure functions of facts, with no I/O and no clock, each written once."""
