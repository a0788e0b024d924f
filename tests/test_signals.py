"""Signals: scikit-learn's checks, and what each says of rows."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from tabgraa_sklearn.signals import (
    ClosestRecordDistance,
    Forget,
    PairwiseDependence,
    TwoSampleClassifier,
    WeightedSignal,
)


@parametrize_with_checks(
    [
        TwoSampleClassifier(random_state=0),
        ClosestRecordDistance(),
        PairwiseDependence(),
        Forget(),
        WeightedSignal(),
        WeightedSignal(
            [("near", ClosestRecordDistance()), ("pairs", PairwiseDependence())],
            weights=[0.5, 1.0],
        ),
    ]
)
def test_scikit_learn_check(estimator, check):
    check(estimator)
