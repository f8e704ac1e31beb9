class StartError(Exception):
    """Something cannot start; the text is one sentence for the person at the terminal and holds no secret."""
