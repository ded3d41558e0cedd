"""CNN and LSTM on an encoder: the family `cnn_lstm` where its options name one."""

from __future__ import annotations

from engines.families.memory import LstmMemory
from engines.families.recurrent import Recurrent


class EncoderLstm(Recurrent):
    """See `Recurrent`; state `h` and `c`, each `[layers, hidden]`."""

    family = "cnn_lstm"
    memory_type = LstmMemory
