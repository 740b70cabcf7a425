"""The price models (spec 5), one file each, each for n rows at once; `rating/price.py` dispatches to them."""
