"""The processes of a training: their start, their loop, how they meet, and who watches them."""
