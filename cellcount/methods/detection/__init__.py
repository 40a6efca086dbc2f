"""What Mask R-CNN and YOLOX share: boxes around centre points, training tiles, the training, and its settings."""
