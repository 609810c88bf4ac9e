"""From video files to feature maps and pairs of them."""
