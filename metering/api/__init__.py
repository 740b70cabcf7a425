"""The HTTP application: keys, problems, routing; each step brings its own routes."""
