"""`flask okta register`: makes in your Okta org what the hooks of this service need.

client      Okta's management API over HTTP
resources   a thing that is made there: how it is found, compared and sent
oauth       key, app, scope, policy and rule
hooks       the hooks of this service, and how each is registered
plan        what differs from what this service needs, and the steps that change it
inputs      options, settings and token, checked
trial       the hooks tried out by Okta itself
screen      what is printed
command     the options, the question, and the order of it all
"""

from .command import register_command

__all__ = ["register_command"]
