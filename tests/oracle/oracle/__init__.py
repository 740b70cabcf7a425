"""A second, slow implementation of the rules of metering, rating and billing, in fractions.

Written from the rules alone: it shares no code with `rating`, `metering` or `schemas`, so that a test
which compares both finds a mistake that was made once.
"""
