"""Settings of the trainer and of the gate that judges its updates."""

from typing import Literal

from pydantic import Field

from stream.configuration.millstream_settings import MillstreamSettings


class TrainerSettings(MillstreamSettings, group="trainer"):
    """How updates are cut, learned and kept."""

    update_rows: int = Field(
        352, ge=1, description="rows that make an update; a plan is cut at the record that fills it"
    )
    update_seconds: float = Field(
        5.0, gt=0, description="longest wait of a row for its update when the stream is too quiet to fill one"
    )
    batch_rows: int = Field(32, ge=1, description="rows of one optimizer step; small batches learn more from few rows")
    encoder_learning_rate: float = Field(5e-4, gt=0, description="AdamW learning rate of the encoder")
    head_learning_rate: float = Field(3e-3, gt=0, description="AdamW learning rate of the head")
    weight_decay: float = Field(
        0.01, ge=0, description="decoupled weight decay of matrices; biases and norms have none"
    )
    warmup_steps: int = Field(50, ge=0, description="steps of rising learning rate, once in the life of a model line")
    schedule: Literal["constant", "inverse_sqrt"] = Field(
        "constant", description="learning rate after the warm-up; a stream has no end to decay towards"
    )
    steady_updates: float = Field(
        5.0,
        ge=1,
        description="updates that the ladder's steady step averages the weights over",
    )
    ladder_rows: int = Field(
        32,
        ge=0,
        description="rows of an update that choose the ladder's step: frozen version, average or newest weights; with "
        "0 the newest serve",
    )
    max_gradient_norm: float = Field(1.0, gt=0, description="gradients are clipped to this L2 norm")
    judge_batch_tokens: int = Field(
        2048, ge=64, description="tokens of one forward pass when an update is judged, padding included"
    )
    replay_share: float = Field(0.0, ge=0, le=0.5, description="share of an update's rows that are replayed old ones")
    replay_kind: Literal["reservoir", "recency"] = Field(
        "reservoir", description="what the replay buffer keeps: an even sample of the past, or the newest rows"
    )
    replay_capacity: int = Field(10_000, ge=1, description="rows the replay buffer holds")
    replay_half_life_seconds: float = Field(
        3600.0, gt=0, description="event time over which the weight of a replayed row halves, for rows of recency"
    )
    probe_rows: int = Field(
        256, ge=0, description="fixed rows, half of them clicked, whose importance scores are compared; 0 is off"
    )
    probe_every: int = Field(8, ge=1, description="updates from one comparison to the next")
    first_copy_seconds: float = Field(
        600.0, gt=0, description="event time over which repeated impressions are recognised; older rows count as late"
    )
    keep_checkpoints: int = Field(3, ge=2, description="complete checkpoints kept, besides the champion's")
    keep_versions: int = Field(
        50, ge=2, description="model versions kept in the registry, besides champion, previous and frozen"
    )
    start: Literal["beginning", "end"] = Field(
        "beginning", description="where in weighted-examples a new model line begins to learn"
    )
    stall_seconds: float = Field(
        900.0, gt=0, description="the process ends itself when its loop has not turned for so long; above any update"
    )
    seed: int = Field(0, ge=0, description="seed of the order of rows in every update")


class GateSettings(MillstreamSettings, group="gate"):
    """When an update may serve. Only evidence of harm holds it; proof of gain is not asked for, nor kept waiting."""

    min_clicks: int = Field(100, ge=2, description="clicks the pooled evidence must hold before AUC decides")
    max_wait_seconds: float = Field(
        1800.0,
        gt=0,
        description="record time after which log loss and calibration decide alone, without the clicks that AUC needs",
    )
    max_auc_harm: float = Field(
        0.01, ge=0, description="held when the 95 % interval of the AUC difference to live lies wholly below minus this"
    )
    max_log_loss_harm: float = Field(
        0.05,
        ge=0,
        description="held when the 95 % interval of the log loss difference to live lies wholly above this share of "
        "the click rate's entropy",
    )
    max_calibration: float = Field(
        2.0,
        gt=1,
        description="held when mean score / CTR is above this or below its inverse, and further off than live",
    )
    max_holds: int = Field(5, ge=1, description="holds in a row after which the champion's weights are restored")
