"""Score whole files offline: read them in parts, score the parts in many processes, and write a file for each part."""
