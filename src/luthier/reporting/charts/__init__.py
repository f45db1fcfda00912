"""Charts: plain records of what is drawn, and their drawing as SVG and HTML without a script."""
