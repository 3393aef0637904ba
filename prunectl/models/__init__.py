"""The networks, one short file a family, torchvision and timm by name, and a fresh network as a checkpoint."""
