"""Penalties on parameters, one short file per family: functions of the network that return a scalar."""
