"""BERT's encoder, computed without padding; its tensors bear the names that `transformers.BertModel` gives them.

transformers itself is not imported: it takes every process more start-up time and memory than all else but torch.

Shapes: B rows, T tokens of the longest row, N tokens of all rows together, H attention heads, K width of a head,
D width of the encoder.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Self

import msgspec
import torch
from torch import Tensor, nn

INITIAL_STD = 0.02
"""Of BERT's random weights; a line loads its own over them."""

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


def _gelu_new(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "gelu_new": _gelu_new,
    "gelu_pytorch_tanh": partial(nn.functional.gelu, approximate="tanh"),
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "swish": nn.functional.silu,
}


class EncoderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Architecture of an encoder: the fields of a `transformers.BertConfig` that matter here, with its defaults."""

    vocab_size: Count = 30522
    hidden_size: Count = 768
    num_hidden_layers: Count = 12
    num_attention_heads: Count = 12
    intermediate_size: Count = 3072
    hidden_act: str = "gelu"
    max_position_embeddings: Count = 512
    type_vocab_size: Count = 2
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if self.hidden_act not in ACTIVATIONS:
            message = f"hidden_act={self.hidden_act} is unknown; it must be one of {', '.join(ACTIVATIONS)}"
            raise ValueError(message)
        if self.hidden_size % self.num_attention_heads:
            message = f"hidden_size={self.hidden_size} is no multiple of num_attention_heads={self.num_attention_heads}"
            raise ValueError(message)
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            message = f"pad_token_id={self.pad_token_id} is none of vocab_size={self.vocab_size}"
            raise ValueError(message)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Return the architecture that fields of a BertConfig describe, whatever else is among them.

        Raises:
            ValueError: one of them is none that BERT can have.
        """
        return msgspec.convert(fields, cls)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where the real tokens of a padded batch are, and how to move between the two forms.

    Attributes:
        mask_BT: True where there is a token.
        index_N: Place of each token in the flattened batch.
        row_N: Its row.
        place_N: Its place in the row.
    """

    mask_BT: Tensor
    index_N: Tensor
    row_N: Tensor
    place_N: Tensor

    @classmethod
    def of(cls, mask_BT: Tensor) -> Self:
        """Return the tokens that the mask shows."""
        index_N = mask_BT.flatten().nonzero().squeeze(1)
        longest = mask_BT.shape[1]
        return cls(mask_BT=mask_BT, index_N=index_N, row_N=index_N // longest, place_N=index_N % longest)

    def pack(self, padded: Tensor) -> Tensor:
        """Return [B, T, ...] without its padding, [N, ...]."""
        return padded.flatten(0, 1).index_select(0, self.index_N)

    def unpack(self, packed_ND: Tensor) -> Tensor:
        """Return [N, D] with zeros for padding, [B, T, D]."""
        num_rows, longest = self.mask_BT.shape
        flat = packed_ND.new_zeros(num_rows * longest, packed_ND.shape[1])
        return flat.index_copy(0, self.index_N, packed_ND).view(num_rows, longest, -1)


class Encoder(nn.Module):
    """Token ids to the last hidden states of the real tokens.

    Padding is left out of everything but attention itself: on rows of 12 to 32 tokens that is up to twice as fast as
    computing it, and the result is the same.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Layers(config)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INITIAL_STD)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_STD)
                if module.padding_idx is not None:
                    nn.init.zeros_(module.weight[module.padding_idx])

    def forward(self, ids_BT: Tensor, type_BT: Tensor, tokens: Tokens) -> Tensor:
        """Return the last hidden states, [N, D], of token ids and their types, int64."""
        x_ND: Tensor = self.embeddings(ids_BT, type_BT, tokens)
        for layer in self.encoder.layer:
            x_ND = layer(x_ND, tokens)
        return x_ND


class _Embeddings(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids_BT: Tensor, type_BT: Tensor, tokens: Tokens) -> Tensor:
        x_ND = (
            self.word_embeddings(tokens.pack(ids_BT))
            + self.token_type_embeddings(tokens.pack(type_BT))
            + self.position_embeddings(tokens.place_N)
        )
        embedded_ND: Tensor = self.dropout(self.LayerNorm(x_ND))
        return embedded_ND


class _Layers(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))


class _Layer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.intermediate = _Intermediate(config)
        self.output = _Output(config.intermediate_size, config)

    def forward(self, x_ND: Tensor, tokens: Tokens) -> Tensor:
        x_ND = self.attention(x_ND, tokens)
        output_ND: Tensor = self.output(self.intermediate(x_ND), x_ND)
        return output_ND


class _Attention(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = _Output(config.hidden_size, config)

    def forward(self, x_ND: Tensor, tokens: Tokens) -> Tensor:
        output_ND: Tensor = self.output(self.self(x_ND, tokens), x_ND)
        return output_ND


class _SelfAttention(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.num_heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob

    def forward(self, x_ND: Tensor, tokens: Tokens) -> Tensor:
        q_BHTK, k_BHTK, v_BHTK = (
            tokens.unpack(projection(x_ND)).view(*tokens.mask_BT.shape, self.num_heads, -1).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        context_BHTK = nn.functional.scaled_dot_product_attention(
            q_BHTK,
            k_BHTK,
            v_BHTK,
            attn_mask=tokens.mask_BT[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return tokens.pack(context_BHTK.transpose(1, 2).flatten(2))


class _Intermediate(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, x_ND: Tensor) -> Tensor:
        return self.activation(self.dense(x_ND))


class _Output(nn.Module):
    """Back to the width of the encoder, and added to what went in."""

    def __init__(self, num_inputs: int, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(num_inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, inner: Tensor, x_ND: Tensor) -> Tensor:
        output_ND: Tensor = self.LayerNorm(self.dropout(self.dense(inner)) + x_ND)
        return output_ND
