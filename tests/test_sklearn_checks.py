"""scikit-learn's own checks of estimators."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from tabgraa_sklearn import TabGRAAImputer, TabGRAASynthesizer

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "rows are learnt in random batches and some are held out: a repeated row is in other "
        "batches than one of weight 2, and predictions after two epochs differ by that"
    ),
}


@parametrize_with_checks(
    [
        TabGRAASynthesizer(max_epochs=2, dropout=0.0, device="cpu"),
        TabGRAAImputer(
            TabGRAASynthesizer(max_epochs=2, dropout=0.0, n_rounds=0, device="cpu"), random_state=0
        ),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_check(estimator, check):
    check(estimator)
