"""CNN and GRU on an encoder: the family `gru`."""

from __future__ import annotations

from engines.families.memory import GruMemory
from engines.families.recurrent import Recurrent


class Gru(Recurrent):
    """See `Recurrent`; state `h` `[layers, hidden]`."""

    family = "gru"
    memory_type = GruMemory
