"""The door: how bytes become requests, who is let in, and how answers leave."""
