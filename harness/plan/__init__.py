"""The rows that a run would record, from layout and order alone: no data is there, and no time."""
