"""Tools that know both the service and the local Okta. Nobody needs to read them to use either."""
