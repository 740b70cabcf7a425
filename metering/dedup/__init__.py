"""An identity counts once: what was seen, exactly, over the whole window."""
