"""Stored events: kept until a handler has taken care of them. Knows no hook."""
