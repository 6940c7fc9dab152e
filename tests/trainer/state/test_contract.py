import pytest

from scorer.model.settings import ModelSettings
from tests.doubles import tiny_bundle
from tests.trainer.rig import TINY_SETTINGS
from trainer.state.contract import ContractError, check_contract, contract_of


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


def test_an_unchanged_contract_is_accepted(bundle):
    check_contract(contract_of(TINY_SETTINGS, bundle, 2), contract_of(TINY_SETTINGS, bundle, 2))


def refused(agreed, found):
    with pytest.raises(ContractError) as raised:
        check_contract(agreed, found)
    assert "millstream models init" in str(raised.value)
    return str(raised.value)


def test_a_changed_number_of_partitions_is_refused_with_the_remedy(bundle):
    message = refused(contract_of(TINY_SETTINGS, bundle, 2), contract_of(TINY_SETTINGS, bundle, 4))
    assert "partitions of weighted-examples was 2 and is 4" in message


def test_a_changed_feature_set_is_refused_with_the_remedy(bundle):
    changed = ModelSettings(numeric=("price",), max_query_tokens=8, max_item_tokens=16, max_tokens=40)
    assert "price" in refused(contract_of(TINY_SETTINGS, bundle, 2), contract_of(changed, bundle, 2))


def test_a_changed_pretrained_model_is_refused_with_the_remedy(bundle):
    changed = TINY_SETTINGS.model_copy(update={"pretrained": "bert-base-uncased"})
    assert "bert-base-uncased" in refused(contract_of(TINY_SETTINGS, bundle, 2), contract_of(changed, bundle, 2))


def test_a_changed_tokenizer_is_refused_with_the_remedy(bundle):
    agreed = contract_of(TINY_SETTINGS, bundle, 2)
    path = bundle.featurizer.tokenizer_dir / "tokenizer.json"
    path.write_text(path.read_text().replace("scarf", "shawl"))
    assert "tokenizer" in refused(agreed, contract_of(TINY_SETTINGS, bundle, 2))
