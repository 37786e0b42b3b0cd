"""The proof of the verdict: causes are planted, and figures and verdict must follow."""
