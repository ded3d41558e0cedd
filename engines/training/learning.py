"""How the recurrent part learns: the settings of lanes, losses and updates, as recipes and programs give them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Whole = Annotated[int, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Part = Annotated[float, msgspec.Meta(ge=0, lt=1)]
LossName = Literal["cross_entropy", "logit_adjusted", "class_balanced", "focal"]


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lanes of streams side by side, by truncated backpropagation through time.

    Attributes:
        epochs: walks over as many steps as there are; the learning rate falls over all of them.
        lanes: streams walked side by side.
        steps: through which the gradient flows; the state goes on.
        learning_rate: its peak, of AdamW.
        encoder_learning_rate: the same for a fine-tuned encoder.
        weight_decay: of AdamW.
        reset: chance that a lane starts from zero before a chunk, so that starting up stays trained.
        join: chance that a sequence follows the one before without a reset, as in a stream with cuts.
        offset: largest share of a sequence that is left out at its start; a lane's first one in an epoch starts
            anywhere, unless this is 0.
        drop: share of the visits to a sequence that lose steps in bursts of 2 to 4 on average.
        drop_rate: range of the share of steps that these lose.
        warm_up_steps: steps after a reset or a cut that count a quarter.
        loss: see `engines.training.losses`.
        draw: each sequence in turn, or by label: every label equally often.
        last_only: only the last step of each sequence, or of its part in a chunk, counts.
        clip_norm: largest norm of the gradient.
        patience: epochs without a better validation after which training stops; 0: never.
        monitor: what "better" means: a lower loss, a higher macro mean average precision of clips, or with `none` just
            a later epoch: all epochs are learnt and the last is kept, as penalised convex problems ask for.
        label_smoothing: share of the probability that is spread over all labels.
    """

    epochs: Count = 30
    lanes: Count = 16
    steps: Annotated[int, msgspec.Meta(ge=2)] = 32
    learning_rate: Rate = 0.001
    encoder_learning_rate: Rate = 0.00001
    weight_decay: Share = 0.01
    reset: Share = 0.05
    join: Share = 0.5
    offset: Share = 0.25
    drop: Share = 0.5
    drop_rate: tuple[Part, Part] = (0.1, 0.6)
    warm_up_steps: Whole = 4
    loss: LossName = "cross_entropy"
    draw: Literal["in_turn", "by_label"] = "in_turn"
    last_only: bool = False
    clip_norm: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    patience: Whole = 5
    monitor: Literal["loss", "macro_map", "none"] = "loss"
    label_smoothing: Part = 0.0

    def __post_init__(self) -> None:
        if self.drop_rate[0] > self.drop_rate[1]:
            raise ValueError("drop_rate is a range: the first number must not be larger than the second")
        if self.draw == "by_label" and self.loss in ("logit_adjusted", "class_balanced"):
            raise ValueError(f"draw: by_label balances the labels already: do not combine it with loss: {self.loss}")
