"""What takes a batch and is done with it some time later: emulated, or computing."""
