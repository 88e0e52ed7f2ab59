"""See `jrnn.extras`."""

from jrnn.extras import require as extra

__all__ = ["extra"]
