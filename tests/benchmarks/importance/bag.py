"""A small click model on bags of words, learned as the real one is: AdamW, clipped, constant rate, weighted log loss.

Written out in numpy, gradient and all: a step of 32 rows takes 0.1 ms, of which autograd's bookkeeping alone would make
0.6. test_bag.py holds it to `trainer.learning.loss.weighted_log_loss`, torch's clipping and AdamW.

Shape legend: B rows of a batch, W words of a row, F text fields, D width of a word's vector, H hidden units, U distinct
words of a batch, P all parameters.
"""

import copy
import math
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from tests.benchmarks.importance.design import TABLE
from tests.benchmarks.importance.streams import Stream

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

MAX_POSITION = 32
BETAS = (0.9, 0.999)
EPSILON = 1e-8
_ONE = np.float32(1)


class Parameters:
    """All parameters as one vector, and a view of it for each; gradients and moments have the same form.

    Attributes:
        flat: Shape [P].
        word: Vector of each word, [V, D]; that of word 0 stays 0.
        layer: [F * D, H], with bias `layer_bias`, [H].
        head: [H], with bias `head_bias`, [1].
        position: What a place adds to the logit, [MAX_POSITION + 1].
    """

    def __init__(self, vocabulary: int, num_fields: int, width: int, hidden: int) -> None:
        shapes = [(vocabulary, width), (num_fields * width, hidden), (hidden,), (MAX_POSITION + 1,), (hidden,), (1,)]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        self.flat = np.zeros(ends[-1], dtype=np.float32)
        parts = np.split(self.flat, ends[:-1])
        self.word, self.layer, self.head, self.position, self.layer_bias, self.head_bias = (
            part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)
        )

    def decayed(self) -> int:
        """Return how many of the parameters, the first ones, are matrices in the real model and decay."""
        return self.word.size + self.layer.size + self.head.size + self.position.size


class BagLearner:
    """z = head(relu(layer(sum of word vectors of each field))) + position term; the optimizer goes on across updates.

    Args:
        stream: The rows.
        seed: Of the initialisation.
        rate: Learning rate.
    """

    def __init__(self, stream: Stream, seed: int, rate: float) -> None:
        model = TABLE["model"]
        self._shape = (stream.vocabulary, len(stream.fields), model["width"], model["hidden"])
        self._starts_F = np.cumsum([0, *stream.fields[:-1]])
        self._first_word_F = np.array(stream.first_words)
        self._word_NW, self._position_N = stream.word_NW, stream.position_N
        self.rate = rate
        self.parameters, self.gradient, self._mean, self._square = (Parameters(*self._shape) for _ in range(4))
        self.num_steps = 0
        random = np.random.default_rng([seed, 1])
        # As in the real model, head and position term begin at 0: an untrained model says the same of every row.
        self.parameters.word[1:] = 0.1 * random.standard_normal(self.parameters.word[1:].shape)
        bound = 1 / math.sqrt(len(self.parameters.layer))
        self.parameters.layer[:] = random.uniform(-bound, bound, self.parameters.layer.shape)

    def branch(self, rate: float) -> Self:
        """Return an independent copy that goes on at another rate."""
        twin = copy.copy(self)
        for name in ("parameters", "gradient", "_mean", "_square"):
            setattr(twin, name, Parameters(*self._shape))
            getattr(twin, name).flat[:] = getattr(self, name).flat
        twin.rate = rate
        return twin

    def score(self, rows: Rows, parameters: Parameters | None = None) -> tuple[Doubles, Floats]:
        """Return z, [B], and h, [B, H], of rows; by other parameters where given."""
        _, h_BH, z_B = self._forward(parameters or self.parameters, self._word_NW[rows], self._position_N[rows])
        return z_B.astype(np.float64), h_BH

    def learn(self, rows: Rows, columns: Floats, batches: list[list[int]]) -> None:
        """Take one step for each batch.

        Args:
            rows: Of the stream.
            columns: Label, weight and logit offset of each of them, shape (3, rows).
            batches: Indices into the rows.
        """
        for batch in batches:
            index_B = np.array(batch)
            row_B = rows[index_B]
            self._backward(self._word_NW[row_B], self._position_N[row_B], *columns[:, index_B])
            self._clip()
            self._step()

    def _forward(self, own: Parameters, word_BW: npt.NDArray[np.int32], position_B: Rows) -> tuple[Floats, ...]:
        pooled_BFD = np.add.reduceat(own.word[word_BW], self._starts_F, axis=1)
        pooled_BX = pooled_BFD.reshape(len(word_BW), -1)
        h_BH = np.maximum(pooled_BX @ own.layer + own.layer_bias, 0)
        z_B = h_BH @ own.head + own.head_bias + own.position[position_B]
        return pooled_BX, h_BH, z_B

    def _backward(
        self, word_BW: npt.NDArray[np.int32], position_B: Rows, label_B: Floats, weight_B: Floats, offset_B: Floats
    ) -> None:
        """Put the gradient of sum_i w_i BCE(sigmoid(z_i + offset_i), y_i) / B into `gradient`."""
        own, gradient = self.parameters, self.gradient
        pooled_BX, h_BH, z_B = self._forward(own, word_BW, position_B)
        p_B = _ONE / (_ONE + np.exp(-np.clip(z_B + offset_B, -50, 50)))
        error_B = weight_B * (p_B - label_B) / np.float32(len(label_B))
        gradient.head[:] = error_B @ h_BH
        gradient.head_bias[0] = error_B.sum()
        gradient.position[:] = np.bincount(position_B, error_B, MAX_POSITION + 1)
        error_BH = np.outer(error_B, own.head) * (h_BH > 0)
        gradient.layer_bias[:] = error_BH.sum(axis=0)
        np.matmul(pooled_BX.T, error_BH, out=gradient.layer)
        self._backward_to_words(word_BW, error_BH @ own.layer.T)

    def _backward_to_words(self, word_BW: npt.NDArray[np.int32], error_BX: Floats) -> None:
        """Sum the error of a field's vector over the rows that hold a word; numbers of a field's words are a range."""
        word_U, place_BW = np.unique(word_BW, return_inverse=True)
        cell_BW = place_BW.reshape(word_BW.shape) + len(word_U) * np.arange(len(word_BW))[:, None]
        count_BU = np.bincount(cell_BW.ravel(), minlength=len(word_BW) * len(word_U)).reshape(len(word_BW), -1)
        count_UB = count_BU.T.astype(np.float32)
        bounds = [*np.searchsorted(word_U, self._first_word_F), len(word_U)]
        width = self.gradient.word.shape[1]
        self.gradient.word.fill(0)
        for field, (first, last) in enumerate(pairwise(bounds)):
            error_BD = error_BX[:, field * width : (field + 1) * width]
            self.gradient.word[word_U[first:last]] = count_UB[first:last] @ error_BD

    def _clip(self) -> None:
        norm = math.sqrt(np.dot(self.gradient.flat, self.gradient.flat))
        if norm > TABLE["training"]["max_gradient_norm"]:
            self.gradient.flat *= np.float32(TABLE["training"]["max_gradient_norm"] / (norm + 1e-6))

    def _step(self) -> None:
        self.num_steps += 1
        flat, gradient, mean, square = (
            part.flat for part in (self.parameters, self.gradient, self._mean, self._square)
        )
        keep = np.float32(1 - self.rate * TABLE["training"]["weight_decay"])
        flat[: self.parameters.decayed()] *= keep
        mean += np.float32(1 - BETAS[0]) * (gradient - mean)
        square *= np.float32(BETAS[1])
        gradient *= gradient
        gradient *= np.float32(1 - BETAS[1])
        square += gradient
        root = np.sqrt(square)
        root *= np.float32(1 / math.sqrt(1 - BETAS[1] ** self.num_steps))
        root += np.float32(EPSILON)
        np.divide(mean, root, out=root)
        root *= np.float32(self.rate / (1 - BETAS[0] ** self.num_steps))
        flat -= root
