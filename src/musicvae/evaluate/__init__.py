"""Figures that can be trusted."""
