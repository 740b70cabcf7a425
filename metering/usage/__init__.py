"""Events become usage in buckets; buckets are split where a subscription's boundary falls inside."""
