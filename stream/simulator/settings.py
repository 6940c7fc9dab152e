"""Settings of the simulated shop."""

from typing import Self

from pydantic import Field, model_validator

from stream.configuration.millstream_settings import MillstreamSettings
from stream.simulator.drift_kind import DriftKind
from stream.simulator.words import Language


class ShopSettings(MillstreamSettings, group="shop"):
    """What is sold, who buys, what they like, and how dirty the stream is."""

    seed: int = Field(7, ge=0, description="the same seed and settings give the same shop, row for row")
    rate: float = Field(200.0, gt=0, description="impressions per second")
    ctr: float = Field(
        0.16, gt=0.001, lt=0.6, description="share of impressions with a click in time; held by the shop"
    )
    language: Language = Field("english", description="of titles and queries: english, german")
    users: int = Field(300, ge=2, description="number of users")
    items: int = Field(400, ge=50, description="number of items at the start")
    new_item_seconds: float = Field(10.0, gt=0, description="a new item appears this often")
    list_size: int = Field(6, ge=1, le=32, description="items shown for one query")
    history_items: int = Field(2, ge=0, le=20, description="liked items an impression tells of its user")
    taste_strength: float = Field(1.9, gt=0, description="standard deviation of tastes in the logit of a click")
    shared_share: float = Field(0.8, ge=0, le=1, description="share of taste that the users of a group have in common")
    position_strength: float = Field(0.35, ge=0, description="how far the logit falls from first to last position")
    drift: DriftKind = Field("sudden", description="how tastes change: none, sudden, gradual, recurring")
    turned_tastes: float = Field(1.0, gt=0, le=1, description="share of tastes that a turn flips into their opposite")
    turn_seconds: float = Field(120.0, ge=0, description="when tastes turn, in seconds of live traffic")
    gradual_seconds: float = Field(60.0, gt=0, description="how long a gradual drift takes, centred on the turn")
    click_seconds: float = Field(2.5, gt=0, description="a prompt click comes within this time")
    late_click_seconds: float = Field(12.0, gt=0, description="a late click comes after this time and before twice it")
    late_click_share: float = Field(0.03, ge=0, lt=1, description="share of clicks that are late")
    cart_share: float = Field(0.2, ge=0, le=1, description="share of clicks followed by a cart; half of those buy")
    accidental_share: float = Field(0.05, ge=0, le=0.5, description="share of clicks that no taste explains")
    bot_share: float = Field(0.002, ge=0, lt=0.1, description="share of lists that a bot looks at, clicking half of it")
    malformed_share: float = Field(0.001, ge=0, lt=0.5, description="undecodable records per impression")
    unknown_version_share: float = Field(0.0005, ge=0, lt=0.5, description="events of a future schema per impression")
    oversized_share: float = Field(0.0002, ge=0, lt=0.5, description="too large events per impression")
    repeated_share: float = Field(0.003, ge=0, lt=0.5, description="impressions and clicks that are sent twice")
    orphaned_share: float = Field(0.001, ge=0, lt=0.5, description="clicks on nothing we know, per impression")
    early_click_share: float = Field(0.01, ge=0, lt=0.5, description="clicks that arrive before their impression")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.late_click_seconds <= self.click_seconds:
            message = (
                f"late_click_seconds={self.late_click_seconds} must be above click_seconds={self.click_seconds}; "
                "raise MILLSTREAM_SHOP_LATE_CLICK_SECONDS"
            )
            raise ValueError(message)
        bots = self.bot_share * 0.5
        if bots >= self.ctr / 2:
            message = (
                f"bot_share={self.bot_share} makes most of the clicks at ctr={self.ctr}; lower one or raise the other"
            )
            raise ValueError(message)
        return self
