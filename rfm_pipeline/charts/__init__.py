"""Pictures that several stages draw: shared style, and the quadrant picture."""
