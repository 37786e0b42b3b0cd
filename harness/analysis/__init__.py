"""From rows to metrics, losses and a verdict. Pure: no file, clock, network or engine here."""
