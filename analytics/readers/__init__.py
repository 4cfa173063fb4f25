"""The record payloads this room can read and write, one module per format.

A reader does not know where its bytes came from: it is given decrypted bytes and the subject they claim to
belong to.
"""
