"""Data sets, outlier pools, augmentation and batches."""
