"""Small real tables that come with the package."""

from tabgraa_sklearn.datasets._adult import load_adult

__all__ = ["load_adult"]
