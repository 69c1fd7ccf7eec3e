"""Emails as they would be read: rendered with made-up variables, for files and for a browser."""
