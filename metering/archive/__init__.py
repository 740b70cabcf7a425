"""Every event kept: written to Parquet once, found again, and computed from again."""
