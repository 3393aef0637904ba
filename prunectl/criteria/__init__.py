"""The criteria, one short file per family: a scorer, and the named Criterion rows that use it.

They import `base/`, never each other.
"""
