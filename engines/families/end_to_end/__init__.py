"""ViT and DeBERTa encoders, a fusion transformer and an action head (the course's ``EndToEndVLA``)."""
