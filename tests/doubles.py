"""Small real stand-ins: a tiny BERT with a tiny vocabulary, a clock moved by hand, and events made from a number."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from scorer.model.bundle import ModelBundle
from scorer.model.ctr_bert import CtrBert, CtrConfig
from scorer.model.encoder import Encoder, EncoderConfig
from scorer.model.feature_spec import FeatureSpec
from scorer.model.features import TOKENIZER_FILE, Featurizer
from scorer.model.numeric_statistics import NumericStatistics
from scorer.registry.registry import ModelRegistry
from scorer.registry.version_store import version_name
from stream.events import Impression, LabeledImpression

TINY_LINE = "00000000"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
COLOURS = ("red", "blue", "green", "black")
THINGS = ("scarf", "shoe", "hat", "lamp")
PIECES = ("winter", "summer", "for", "##s", "##y", "[", "]", *"abcdefgh", *(f"##{letter}" for letter in "abcdefgh"))
VOCABULARY = (*SPECIAL_TOKENS, *COLOURS, *THINGS, *PIECES)


class ManualClock:
    """A clock that moves when told to."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Return the time, in epoch milliseconds."""
        return self.now_ms

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now_ms += round(seconds * 1000)


def write_tiny_tokenizer(directory: Path) -> Path:
    """Write a BERT tokenizer of some forty word pieces and return its directory."""
    ids = {token: index for index, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / TOKENIZER_FILE))
    return directory


def write_tiny_bert(directory: Path, **changes: int) -> Path:
    """Write a pretrained BERT of two narrow layers with that tokenizer and return its directory."""
    config = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    } | changes
    write_tiny_tokenizer(directory)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(Encoder(EncoderConfig.of(config)).state_dict(), directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    return directory


class TinyModel(CtrBert):
    """A real CtrBert: two layers of width 16, head and position term drawn at random so that scores differ."""

    def __init__(self, *, num_numeric: int = 0, seed: int = 0, **changes: object) -> None:
        bert = {
            "vocab_size": len(VOCABULARY),
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        }
        config = {"bert": bert, "sep_token_id": VOCABULARY.index("[SEP]"), "num_numeric": num_numeric} | changes
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            super().__init__(CtrConfig(**config))
            torch.nn.init.normal_(self.head.weight, std=0.3)
            torch.nn.init.normal_(self.position_logit.weight, std=0.3)


def tiny_bundle(
    directory: Path, *, number: int = 0, numeric: tuple[str, ...] = (), seed: int = 0, **changes: object
) -> ModelBundle:
    """Return a tiny model with everything it needs, not published. Further arguments change its CtrConfig."""
    spec = FeatureSpec(numeric=numeric, max_query_tokens=8, max_item_tokens=16, max_tokens=40)
    return ModelBundle(
        model=TinyModel(num_numeric=len(numeric), seed=seed, **changes),
        featurizer=Featurizer(write_tiny_tokenizer(directory), spec),
        statistics=NumericStatistics(numeric),
        version=version_name(TINY_LINE, number),
    )


def tiny_registry(root: Path, **arguments: object) -> tuple[ModelRegistry, ModelBundle]:
    """Return a registry with one tiny version, which is its champion, and that version as loaded from it."""
    registry = ModelRegistry(root / "registry")
    bundle = tiny_bundle(root / "tokenizer", **arguments)
    registry.publish(bundle, created_ms=1)
    registry.set_alias("champion", bundle.version)
    return registry, registry.load(bundle.version)


def tiny_impression(index: int = 0, **changes: object) -> Impression:
    """Return an impression whose texts, history and position vary with the index."""
    values: dict[str, object] = {
        "impression_id": f"impression-{index}",
        "event_time_ms": 1_700_000_000_000 + index,
        "item_id": f"item-{index % 16}",
        "item_text": f"{COLOURS[index % 4]} {THINGS[index // 4 % 4]}",
        "query": THINGS[index % 3],
        "history": tuple(f"{COLOURS[k]} {THINGS[k]}" for k in range(index % 4)),
        "position": index % 7,
    }
    return Impression(**(values | changes))


def tiny_labeled(index: int = 0, *, label: int | None = None, **changes: object) -> LabeledImpression:
    """Return a labeled impression; by default scarves are clicked."""
    impression = tiny_impression(index, **changes)
    return LabeledImpression(
        impression=impression,
        label=int("scarf" in impression.item_text) if label is None else label,
        label_due_ms=impression.event_time_ms + 5_000,
        source_partition=index % 2,
        source_offset=index,
    )
