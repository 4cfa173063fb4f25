"""Web pages, rendered on the server and readable without script; only signing needs one
(web/sign.js).

Pages do not know rules or keys. They show the read model, and send signed messages to the public
HTTP routes.
"""
