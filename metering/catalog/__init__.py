"""Meters and plans as they are applied, stored in versions."""
