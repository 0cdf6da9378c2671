"""Curations that ship as examples, one YAML a data set."""
