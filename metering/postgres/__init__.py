"""Postgres: the pool and its transactions, the named SQL, the migrations."""
