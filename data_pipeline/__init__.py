"""Raw files -> examples -> features -> TFRecord -> batches."""
