import torch

from scorer.model.batch import collate
from scorer.model.numeric_statistics import NumericStatistics
from tests.doubles import tiny_bundle, tiny_impression


def test_a_batch_is_padded_behind_the_tokens(tmp_path):
    rows = tiny_bundle(tmp_path, numeric=("price",)).featurizer.encode(
        [tiny_impression(history=()), tiny_impression(history=("blue",), position=4)]
    )
    batch = collate(rows, NumericStatistics(("price",)))
    assert batch.mask_BT.sum(dim=1).tolist() == [len(encoded.ids) for encoded in rows]
    for index, encoded in enumerate(rows):
        assert batch.ids_BT[index][batch.mask_BT[index]].tolist() == encoded.ids.tolist()
    assert batch.ids_BT[~batch.mask_BT].eq(0).all()
    assert batch.position_B.tolist() == [0, 4]
    assert batch.numeric_BF.dtype == torch.float32
    assert batch.numeric_BF.tolist() == [[0.0, 1.0]] * 2
