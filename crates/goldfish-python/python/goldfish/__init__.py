"""Goldfish loss masks in Python: :class:`Masker` for Arrow data, arrays and lists, :func:`open` for shards, and :func:`trace`
for texts that may appear in a corpus.

The masks are those of the program ``goldfish``, to the bit. The other modules are imported by name, so that nothing is
loaded without need: ``goldfish.torch``, ``goldfish.hf``, ``goldfish.ray``, ``goldfish.spark``.
"""

from ._goldfish import ArrowArray, ArrowTable, GoldfishError, __version__
from ._masker import Masker
from ._shards import Document, Shards, open
from ._trace import Trace, trace

__all__ = ["ArrowArray", "ArrowTable", "Document", "GoldfishError", "Masker", "Shards", "Trace", "__version__", "open", "trace"]
