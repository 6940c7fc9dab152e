import numpy as np
import torch
from torch import nn

from tests.benchmarks.importance.bag import MAX_POSITION, BagLearner
from tests.benchmarks.importance.design import TABLE
from tests.benchmarks.importance.streams import Stream
from trainer.learning.loss import weighted_log_loss


def stream_of(num_rows: int) -> Stream:
    random = np.random.default_rng(0)
    first = random.integers(1, 9, (num_rows, 2))
    second = random.integers(9, 30, (num_rows, 3)) * (random.random((num_rows, 3)) < 0.7)
    label = (random.random(num_rows) < 0.3).astype(np.float64)
    return Stream(
        word_NW=np.concatenate([first, second], axis=1).astype(np.int32),
        fields=(2, 3),
        first_words=(1, 9),
        vocabulary=30,
        position_N=random.integers(1, 7, num_rows),
        label_N=label,
        truth_N=label,
        probability_N=np.full(num_rows, 0.3),
        draw_N=random.random(num_rows),
        history=0,
    )


class TorchBag(nn.Module):
    """The same model, written the usual way."""

    def __init__(self, learner: BagLearner) -> None:
        super().__init__()
        own = learner.parameters
        self.word = nn.Embedding.from_pretrained(torch.tensor(own.word), freeze=False, padding_idx=0)
        self.layer = nn.Linear(*own.layer.shape)
        self.head = nn.Linear(len(own.head), 1)
        self.position = nn.Embedding(MAX_POSITION + 1, 1)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor(own.layer.T))
            self.layer.bias.copy_(torch.tensor(own.layer_bias))
            self.head.weight.copy_(torch.tensor(own.head)[None])
            self.head.bias.copy_(torch.tensor(own.head_bias))
            self.position.weight.copy_(torch.tensor(own.position)[:, None])

    def forward(self, word_BW, position_B):
        vectors = self.word(word_BW)
        pooled = torch.cat([vectors[:, :2].sum(dim=1), vectors[:, 2:].sum(dim=1)], dim=1)
        return (self.head(torch.relu(self.layer(pooled))) + self.position(position_B)).squeeze(1)


def test_a_step_is_that_of_torch_with_the_trainers_loss_clipping_and_adamw():
    stream = stream_of(96)
    learner = BagLearner(stream, seed=3, rate=0.02)
    model = TorchBag(learner)
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": TABLE["training"]["weight_decay"]},
            {"params": biases, "weight_decay": 0},
        ],
        lr=0.02,
    )
    rows = np.arange(96)
    random = np.random.default_rng(1)
    columns = np.stack([stream.label_N, random.uniform(0.1, 40, 96), random.normal(size=96)]).astype(np.float32)
    batches = [list(batch) for _ in range(5) for batch in np.split(random.permutation(96), 3)]

    learner.learn(rows, columns, batches)
    word, position = torch.from_numpy(stream.word_NW), torch.from_numpy(stream.position_N)
    for batch in batches:
        optimizer.zero_grad()
        z = model(word[batch], position[batch])
        weighted_log_loss(z, *torch.from_numpy(columns[:, batch])).backward()
        nn.utils.clip_grad_norm_(model.parameters(), TABLE["training"]["max_gradient_norm"])
        optimizer.step()

    expected = model(word, position).detach().numpy()
    np.testing.assert_allclose(learner.score(rows)[0], expected, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(learner.parameters.word, model.word.weight.detach().numpy(), atol=1e-3)


def test_a_branch_goes_on_alone():
    stream = stream_of(64)
    learner = BagLearner(stream, seed=3, rate=0.02)
    rows = np.arange(64)
    columns = np.stack([stream.label_N, np.ones(64), np.zeros(64)]).astype(np.float32)
    learner.learn(rows, columns, [list(range(64))])
    before = learner.score(rows)[0]

    twin = learner.branch(0.02)
    twin.learn(rows, columns, [list(range(64))])
    np.testing.assert_array_equal(learner.score(rows)[0], before)

    learner.learn(rows, columns, [list(range(64))])
    np.testing.assert_array_equal(learner.score(rows)[0], twin.score(rows)[0])
