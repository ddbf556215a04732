"""What bench/train.py, bench/infer.py and bench/scaling.py share; needs torch, timm and numpy only."""
