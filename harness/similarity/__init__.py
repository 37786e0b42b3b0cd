"""How alike two I/O patterns are: components from 0 to 1, of the calls (L) and their times (T)."""

from harness.similarity.components import CALL_COMPONENTS, TIME_COMPONENTS
from harness.similarity.pattern import Pattern
from harness.similarity.score import Score, score

__all__ = ["CALL_COMPONENTS", "TIME_COMPONENTS", "Pattern", "Score", "score"]
