"""Where a run computes: what is not there is told in one line."""

import pytest

from errors import UserError
from training.strategy import DistributionConfig, make_strategy


@pytest.mark.parametrize(
    ("tpu_name", "told"),
    [(None, "no --tpu_name none was reached"), ("tpu.invalid", "--tpu_name=tpu.inv")],
)
def test_a_tpu_that_is_not_there_is_told(tpu_name, told):
    config = DistributionConfig("tpu", tpu_name=tpu_name)
    with pytest.raises(UserError, match=f"a TPU is asked for .*{told}") as error:
        make_strategy(config)
    assert "\n" not in str(error.value)
