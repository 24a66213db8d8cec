"""What two or more systems share: layers with plain arguments, and their functions.

A sublayer is named after its scope in the released checkpoints, so that the path of a
variable is its released name. Randomness comes in through arguments only.
"""
