"""``tokendrop speed``: what dropping tokens saves on the clock, without training anything."""
