"""What must not change under a model line, and the refusal when it did."""

from hashlib import sha256

from msgspec import Struct

from scorer.model.bundle import ModelBundle
from scorer.model.feature_spec import FeatureSpec, feature_spec
from scorer.model.features import TOKENIZER_FILE
from scorer.model.settings import ModelSettings


class ContractError(ValueError):
    """The settings or the topic no longer fit the model line; the message says what differs and what to do."""


class Contract(Struct, frozen=True, kw_only=True):
    """What the model reads, and how the log is laid out.

    Attributes:
        pretrained: The BERT that the line starts from.
        tokenizer_sha256: Digest of its tokenizer file.
        features: What is read from an impression.
        partitions: Partitions of `weighted-examples`.
    """

    pretrained: str
    tokenizer_sha256: str
    features: FeatureSpec
    partitions: int


def contract_of(model: ModelSettings, bundle: ModelBundle, partitions: int) -> Contract:
    """Return the contract as settings, version and topic have it now."""
    tokenizer = (bundle.featurizer.tokenizer_dir / TOKENIZER_FILE).read_bytes()
    return Contract(
        pretrained=model.pretrained,
        tokenizer_sha256=sha256(tokenizer).hexdigest(),
        features=feature_spec(model),
        partitions=partitions,
    )


def check_contract(agreed: Contract, found: Contract) -> None:
    """Refuse to go on with a line whose contract is broken.

    Raises:
        ContractError: something differs.
    """
    names = {
        "pretrained": "model.pretrained",
        "tokenizer_sha256": "the tokenizer's sha256",
        "features": "the features (model.numeric, model.max_...)",
        "partitions": "the number of partitions of weighted-examples",
    }
    differences = [
        f"{name} was {getattr(agreed, field)} and is {getattr(found, field)}"
        for field, name in names.items()
        if getattr(agreed, field) != getattr(found, field)
    ]
    if differences:
        message = (
            f"this model line cannot go on: {'; '.join(differences)}. Change it back, or start a new line with "
            "`millstream models init` and `millstream models warm-start`"
        )
        raise ContractError(message)
