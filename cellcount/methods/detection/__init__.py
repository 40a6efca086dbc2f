"""What Mask R-CNN and YOLOX share: boxes made from clicks, training tiles, and files of weights."""
