import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from fcdd.metrics import auroc, average_precision


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60).filter(
        lambda pairs: len({label for label, _ in pairs}) == 2
    )
)
@settings(deadline=None)
def test_metrics_equal_scikit_learn_with_many_ties(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], float)
    ours = torch.tensor(labels), torch.tensor(scores)
    assert auroc(*ours) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(*ours) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )


def test_auroc_by_hand() -> None:
    # Pairs (anomalous, nominal): 3 > 1, 3 > 2, 2 > 1, 2 = 2 -> (3 + 1/2) / 4.
    labels, scores = torch.tensor([0, 0, 1, 1]), torch.tensor([1.0, 2.0, 2.0, 3.0])
    assert auroc(labels, scores) == 3.5 / 4


def test_unbounded_scores_are_ranked_as_they_are() -> None:
    labels, scores = torch.tensor([0, 1, 1]), torch.tensor([20.0, 21.0, 1e6])
    assert auroc(labels, scores) == 1


def test_one_label_and_non_finite_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="all 3 test images are anomalous"):
        auroc(torch.ones(3), torch.rand(3))
    with pytest.raises(ValueError, match="1 of 3 scores are not finite"):
        average_precision(torch.tensor([0, 1, 1]), torch.tensor([0.0, float("nan"), 1.0]))
