"""Credits and payments (their double-entry journal comes with the subscriptions' live routes)."""
