"""Stored events, kept until a handler has handled them. Does not depend on any hook."""
