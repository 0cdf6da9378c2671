"""A release as plain Parquet and a data card, which Hugging Face `datasets` reads as it is."""
