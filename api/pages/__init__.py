"""What people see: pages made on the server, readable without script; only signing needs one (web/sign.js).

Pages do not know rules or keys. They show what the register says, and hand signed messages to the same doors as
anybody.
"""
