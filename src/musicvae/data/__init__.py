"""Folders of files → a data set on disk → batches."""
