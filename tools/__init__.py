"""Tools that use both the service and the local Okta. You can use either without reading these."""
