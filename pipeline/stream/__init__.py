"""The prediction stream: messages, their publisher and their subscriber."""
