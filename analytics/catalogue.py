"""Names of models, feature sets, selectors, imputers, scalers and devices. Imports nothing."""

from __future__ import annotations

FEATURE_SETS = ("genes", "clinical", "combined")
MODELS = ("boosting", "cnn", "forest", "knn", "logistic", "svm")
SELECTORS = ("chi2", "f", "mutual-information", "score")
IMPUTERS = ("knn", "mean", "median")
SCALERS = ("min-max", "z-score")
DEVICES = ("auto", "cpu", "cuda")
