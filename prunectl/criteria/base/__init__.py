"""The building blocks of criteria: the Criterion type, sensitivities, callbacks, schedules.

Criteria import only from here.
"""
