"""Images, and the batches that networks are measured on."""
