"""Orders to a vidpipe that runs, over a socket in its state folder: reload, reset."""
