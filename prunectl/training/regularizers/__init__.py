"""Penalties on parameters, one short file a family: a function of the network that returns a scalar."""
