"""The method: FCDD, its data, training and evaluation."""
