"""scikit-learn's own checks of estimators."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from tabgraa_sklearn import TabGRAASynthesizer


@parametrize_with_checks([TabGRAASynthesizer(max_epochs=2, dropout=0.0, device="cpu")])
def test_scikit_learn_check(estimator, check):
    check(estimator)
