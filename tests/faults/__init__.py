"""Faults, provoked one after the other: `make faults` says which of them greenroom gets over."""
