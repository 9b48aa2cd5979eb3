"""A stand-in for Okta, on this machine. You need not read it to use or deploy the service."""
