"""A stand-in for Okta on this machine. It knows the service only over HTTP."""
