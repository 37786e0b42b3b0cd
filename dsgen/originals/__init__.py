"""Facts of the original data sets, as data files: shapes and counts, never their content."""
