"""Notices: what concerns a person, in her inbox and on its way out by mail or webhook.

They name what happened and nothing of its content. They do not know how a mail or a webhook is sent
(api/operate), nor how a page shows them.
"""
