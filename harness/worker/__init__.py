"""What runs in the ranks: reads as the reference training reads, and records every call.

Imports only itself, dsgen, numpy and the standard library (TensorFlow on demand).
"""
