"""The host side: engines, runs, analysis and reports. Only `harness.worker` enters images."""
