"""The criteria, one short file a family: a scorer, and the named Criterion rows that use it.

They import `base/`, never each other.
"""
