"""`flask okta register`: create in your Okta org what the hooks of this service need.

inputs   options, settings and token, checked
client   Okta's management API over HTTP
plan     how a thing in the org is compared with what it should be, and the steps that change it
wanted   what should be there: key, app, scope, policy, rule and hooks
command  the options, the question, and the order of it all
"""

from .command import register_command

__all__ = ["register_command"]
