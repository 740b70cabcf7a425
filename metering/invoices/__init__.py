"""Periods close: drafts, final invoices with gapless numbers, and their HTML."""
