"""Records commands in a terminal, and draws what it shows as SVG."""
