"""What criteria are made of: the Criterion type, sensitivities, callbacks, schedules.

A criterion imports from here alone.
"""
