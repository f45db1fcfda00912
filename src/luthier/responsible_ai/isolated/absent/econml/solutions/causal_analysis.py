"""Stands in for econml, which responsibleai imports for an analysis that is not made here.

econml has no wheel for Linux on ARM nor, in a version that fits, for Macs with Intel.
"""

CausalAnalysis = None
