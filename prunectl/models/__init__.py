"""The networks: one short file per family, torchvision and timm by name, and fresh networks as checkpoints."""
