"""`flask okta register`: create in your Okta org what the hooks of this service need.

inputs     options, settings and token, checked
client     Okta's management API over HTTP
resources  a resource in Okta, how it is compared, and the steps that change it
oauth      key, app, scope, policy and rule
hooks      the hooks
command    the options, the question, and the order of it all
"""

from .command import register_command

__all__ = ["register_command"]
