"""Who may connect: keys of the server and of its clients, and which cameras each client may have."""
