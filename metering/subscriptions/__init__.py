"""Customers and the acts on their accounts."""
