"""Existing systems, read as they are: where the bytes lie and which Arrow types they have. Knows nothing of who may
read them.
"""
