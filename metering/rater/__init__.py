"""Usage becomes what is owed so far: rated totals per charge segment."""
