"""Readers and writers of record payloads, one module per format.

A reader does not know the origin of its bytes: it is given decrypted bytes and the subject that
they claim to belong to.
"""
