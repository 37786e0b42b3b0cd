"""`compare`: reading the results of two sides, and showing what harness/analysis says of them."""
