"""Settings of the importance strategies."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from stream.configuration.millstream_settings import MillstreamSettings


class ImportanceSettings(MillstreamSettings, group="importance"):
    """Parameters of the importance strategies, and the weight factors that multiply whichever is chosen."""

    false_click_rate: float = Field(
        0.01, ge=0, lt=1, description="noise_fc: probability that an impression nobody wanted is clicked all the same"
    )
    missed_click_rate: float = Field(
        0.0, ge=0, lt=1, description="noise_fc: probability that the click of an impression is lost"
    )
    reference_strength: float = Field(
        0.5, ge=0, le=2, description="rho_ref: s in exp(s * (loss - loss of the reference)); 0 weighs all rows alike"
    )
    cart_weight: float = Field(1.0, ge=0, description="factor of an impression whose strongest click is a cart")
    purchase_weight: float = Field(1.0, ge=0, description="factor of an impression whose strongest click is a purchase")
    position_eta: float = Field(
        0.0, ge=0, le=3, description="clicks at position k weigh k^eta, as if seen with probability k^-eta; 0 is off"
    )
    position_cap: float = Field(5.0, ge=1, description="largest factor that a position may give")
    rules: Path | None = Field(
        None, description="TOML file of business rules that multiply the weights of matching impressions"
    )

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        if self.false_click_rate + self.missed_click_rate >= 1:
            message = (
                f"false_click_rate={self.false_click_rate} plus missed_click_rate={self.missed_click_rate} leave no "
                "information in a label; their sum must be below 1"
            )
            raise ValueError(message)
        return self
