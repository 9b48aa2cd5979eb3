"""A stand-in for Okta, on this machine. Nobody needs to read it to use or deploy the service."""
